//! The C compiler and the flags that nginx was configured for.

use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// A header that stands for all of nginx's, and how a file that includes it is compiled.
pub(crate) struct Headers {
    header: PathBuf,
    compiler: Vec<String>,
    /// CFLAGS and ALL_INCS of nginx's Makefile, with the folders as seen from anywhere.
    flags: Vec<String>,
}

impl Headers {
    /// Reads the Makefile that nginx's configure has written.
    pub(crate) fn read(source: &Path, makefile: &Path, header: &Path) -> Result<Headers> {
        let text = fs::read_to_string(makefile)
            .map_err(|e| format!("{}: {e}", makefile.display()))?
            .replace("\\\n", " ");
        let variable = |name: &str| {
            let words = text.lines().find_map(|line| {
                let rest = line.strip_prefix(name)?.trim_start();
                rest.strip_prefix('=').map(shlex::split)
            });
            words
                .flatten()
                .ok_or_else(|| format!("no {name} in {}", makefile.display()))
        };
        let mut flags = variable("CFLAGS")?;
        flags.extend(variable("ALL_INCS")?);
        Ok(Headers {
            header: fs::canonicalize(header)?,
            compiler: variable("CC")?,
            flags: from_anywhere(&flags, &fs::canonicalize(source)?),
        })
    }

    /// What matters of the flags to a parser of C: macros and folders.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &String> {
        let matters = |flag: &&String| ["-I", "-D", "-U"].iter().any(|f| flag.starts_with(f));
        self.flags.iter().filter(matters)
    }

    /// The text of all the headers.
    pub(crate) fn preprocess(&self) -> Result<String> {
        let mut command = self.compile();
        command.args(["-E", "-P"]).arg(&self.header);
        run(&mut command, "")
    }

    /// Compiles a program that begins with the headers, and runs it.
    pub(crate) fn run(&self, program: &str, executable: &Path) -> Result<String> {
        let mut command = self.compile();
        command.arg("-include").arg(&self.header);
        command.args(["-x", "c", "-", "-o"]).arg(executable);
        run(&mut command, program)?;
        run(&mut Command::new(executable), "")
    }

    fn compile(&self) -> Command {
        let mut command = Command::new(&self.compiler[0]);
        command.args(&self.compiler[1..]).args(&self.flags);
        // The program is no part of nginx; what its warnings say is of no interest.
        command.args(["-w", "-Wno-error"]);
        command
    }
}

/// Folders that are given relative to nginx's sources, in full; `-I folder` becomes one word.
fn from_anywhere(flags: &[String], source: &Path) -> Vec<String> {
    let mut words = flags.iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let folder = match word.strip_prefix("-I") {
            Some("") => words.next().map(String::as_str),
            folder => folder,
        };
        found.push(match folder {
            Some(folder) => format!("-I{}", source.join(folder).display()),
            None => word.clone(),
        });
    }
    found
}

/// What the command prints, given `input`.
fn run(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_owned();
    let failed = |why: &dyn Display| format!("{}: {why}", name.to_string_lossy());
    let mut child = command.spawn().map_err(|e| failed(&e))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
