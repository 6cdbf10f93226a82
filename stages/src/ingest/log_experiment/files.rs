//! The files that `init` is given: what is no file is refused at once, and a text in another encoding is told how to be written anew.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use pipeline::log_experiment::LogFiles;

use crate::artifact::in_utf8;

/// Refuses what does not exist, and what is neither a file nor a folder: a pipe would be waited for, and is read once only.
///
/// # Errors
/// With the option and what to do.
pub(super) fn check_files(request: &LogFiles) -> Result<()> {
    let given =
        [("--log", Some(&request.log)), ("--items", request.items.as_ref()), ("--users", request.users.as_ref())];
    for (option, path) in given {
        let Some(path) = path else { continue };
        ensure!(path.exists(), "{} does not exist\nhelp: correct `{option}`", path.display());
        if !path.is_file() && !path.is_dir() {
            bail!(
                "{} is neither a file nor a folder, but a pipe or a device, which can be read once only\nhelp: write its rows to a file, and \
                 name that with `{option}`",
                path.display()
            );
        }
    }
    Ok(())
}

/// How to write a file anew whose rows are refused for that reason, where it is their encoding.
pub(super) fn encoding_help(why: &str, path: &Path) -> Option<String> {
    why.contains("is not UTF-8").then(|| in_utf8(path, "WINDOWS-1252"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_no_log() {
        let request = |log: &str| LogFiles { log: log.into(), ..LogFiles::default() };
        let error = check_files(&request("/dev/null")).unwrap_err().to_string();
        assert!(
            error.contains("/dev/null is neither a file nor a folder") && error.contains("with `--log`"),
            "{error}"
        );
        let error = check_files(&request("/nowhere")).unwrap_err().to_string();
        assert!(error.ends_with("does not exist\nhelp: correct `--log`"), "{error}");
        let items = LogFiles { items: Some("/dev/null".into()), ..request("/dev") };
        assert!(check_files(&items).unwrap_err().to_string().contains("with `--items`"));
        check_files(&request("/dev")).unwrap();
    }
}
