//! The manual page: one, with every command in it.

use std::io::{self, Write, stdout};

use clap::CommandFactory;
use clap_mangen::Man;

use crate::arguments::Arguments;
use crate::{End, Ended};

pub(crate) fn run() -> Ended {
    let page = page().map_err(|e| e.to_string())?;
    let written = stdout().write_all(page.as_bytes());
    written.map(|()| End::Done).map_err(|e| e.to_string())
}

fn page() -> io::Result<String> {
    let mut whole = Arguments::command();
    whole.build();
    let mut page = rendered(|to| Man::new(whole.clone()).render(to))?;
    for command in whole.get_subcommands() {
        let name = command.get_name();
        // clap refers to a page for each.
        page = page.replace(&format!("swrcachectl\\-{name}(1)"), name);
        if name == "help" {
            continue;
        }
        let man = Man::new(command.clone());
        let part = rendered(|to| {
            man.render_description_section(to)?;
            man.render_synopsis_section(to)?;
            man.render_options_section(to)
        })?;
        let title = name.to_uppercase();
        page += &format!(".SH {title}\n{}", part.replace(".SH ", ".SS "));
    }
    Ok(page)
}

fn rendered(render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<String> {
    let mut text = Vec::new();
    render(&mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_it_with_its_options() {
        let page = page().expect("a page");
        for text in [
            ".SH PURGE\n",
            ".SH FOLLOW\n",
            "\\-\\-position",
            "\\-\\-wait",
            "SWRCACHE_REDIS",
        ] {
            assert!(page.contains(text), "{text} in {page}");
        }
        assert!(!page.contains("swrcachectl\\-follow(1)"), "{page}");
    }
}
