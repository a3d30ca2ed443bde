//! The file with the id of the last purge that was carried out.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::stream::Id;

/// The file.
pub(crate) struct PositionFile {
    path: PathBuf,
    /// What is to become it.
    new: PathBuf,
}

impl PositionFile {
    /// Finds out whether the file can be written, before anything depends on that.
    pub(crate) fn new(path: &Path) -> Result<PositionFile, String> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let file = PositionFile {
            path: path.to_owned(),
            new: new.into(),
        };
        File::create(&file.new).map_err(|e| format!("{}: {e}", file.new.display()))?;
        Ok(file)
    }

    /// The position; nothing where there is no file, or none that can be understood.
    pub(crate) fn read(&self) -> Result<Option<Id>, String> {
        match fs::read(&self.path) {
            Ok(text) => Ok(String::from_utf8_lossy(&text).trim().parse().ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", self.path.display())),
        }
    }

    /// Replaces the position, so that the file always has one, whole. If the machine fails, it may have an earlier one, or none: then
    /// purges are carried out again.
    pub(crate) fn write(&self, id: Id) -> io::Result<()> {
        fs::write(&self.new, format!("{id}\n"))?;
        fs::rename(&self.new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_kept() {
        let name = format!("swrcachectl-position-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = PositionFile::new(&path).expect("a file");
        assert_eq!(file.read(), Ok(None));
        let id: Id = "12-3".parse().expect("an id");
        file.write(id).expect("written");
        assert_eq!(file.read(), Ok(Some(id)));
        fs::write(&path, "nonsense").expect("written");
        assert_eq!(file.read(), Ok(None));
        fs::remove_file(&path).expect("removed");
        assert!(PositionFile::new(Path::new("/nowhere/position")).is_err());
    }
}
