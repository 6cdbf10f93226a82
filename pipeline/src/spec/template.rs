//! The file that `apprentice init` writes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::document;

/// Stands in the template beside what is about the data set that it uses.
const MARK: &str = "←";

/// Writes the template `text` to `path`, named after the file, which must not exist: an experiment is never overwritten.
///
/// # Errors
/// When the file exists or cannot be written, or cannot give its name to an experiment.
pub fn write_template(path: &Path, text: &str) -> anyhow::Result<()> {
    write_new(path, &named(text, &name(path)?, path))
}

/// The name of a new experiment in `path`.
///
/// # Errors
/// When the file exists, its folder does not, or it cannot give its name to an experiment.
pub fn new_experiment(path: &Path) -> anyhow::Result<String> {
    let name = name(path)?;
    anyhow::ensure!(!path.exists(), "{}", exists(path));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    anyhow::ensure!(folder.is_none_or(Path::is_dir), "{}", no_folder(path));
    Ok(name)
}

/// Writes an experiment that was made for a log: `text` from its `assets` on.
///
/// # Errors
/// As [`write_template`].
pub fn write_log_experiment(path: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let file = path.display();
    let head = format!(
        "# An experiment for a log, written by `apprentice init --log`. Run it with\n#\n#     apprentice run {file}\n#\n\
         # Beside each line is why it was written; `{MARK}` marks what a file cannot say. `apprentice plan {file}` says what would run,\n\
         # `apprentice stages KIND` what a stage takes.\nname: {name}\n\n"
    );
    write_new(path, &(head + text))
}

fn exists(path: &Path) -> String {
    format!("`{}` exists already\nhelp: give another name; nothing is overwritten", path.display())
}

fn no_folder(path: &Path) -> String {
    format!("there is no folder for `{}`\nhelp: make it first", path.display())
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow::anyhow!(exists(path)),
        ErrorKind::NotFound => anyhow::anyhow!(no_folder(path)),
        _ => anyhow::anyhow!("cannot write `{}`: {error}", path.display()),
    })?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| anyhow::anyhow!("cannot write `{}`: {error}", path.display()))
}

/// The name of the experiment in a file: that of the file without its ending.
fn name(path: &Path) -> anyhow::Result<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if document::is_experiment(&stem) {
        return Ok(stem);
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let near: String = stem.chars().map(plain).take(document::LONGEST).collect();
    let near = Some(near.trim_matches(['-', '_'])).filter(|near| document::is_experiment(near)).unwrap_or("my");
    anyhow::bail!(
        "the experiment in `{}` would be called `{stem}`, which is no name for an experiment\nhelp: {}; for example `{}`",
        path.display(),
        document::NAME_RULE,
        path.with_file_name(format!("{near}.yaml")).display(),
    )
}

/// The template under another name: the comment at its top is about the file that it was.
fn named(text: &str, name: &str, path: &Path) -> String {
    let rest: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("name:")).skip(1).collect();
    let marked = if text.contains(MARK) {
        format!("# For a log of your own, change the lines marked with `{MARK}`. ")
    } else {
        "# ".to_owned()
    };
    format!(
        "# An experiment, written by `apprentice init`. Run it with\n#\n#     apprentice run {}\n#\n\
         {marked}`apprentice plan` says what would run, and why.\nname: {name}\n{}\n",
        path.display(),
        rest.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.yaml");
        write_template(&path, "# old words\nname: a\n\nstages: {} # ← yours\n").unwrap();
        let error = write_template(&path, "name: b\n").unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("why.\nname: mine\n\nstages: {} # ← yours\n"), "{text}");
        assert!(!text.contains("old words") && text.contains("the lines marked with `←`"), "{text}");
        let error = write_template(&folder.path().join("no/mine.yaml"), "").unwrap_err().to_string();
        assert!(error.contains("there is no folder"), "{error}");
    }

    #[test]
    fn an_experiment_for_a_log_is_written_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.yaml");
        assert_eq!(new_experiment(&path).unwrap(), "mine");
        write_log_experiment(&path, "mine", "stages: {}\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("written by `apprentice init --log`") && text.ends_with("\nname: mine\n\nstages: {}\n"),
            "{text}"
        );
        let error = new_experiment(&folder.path().join("no/mine.yaml")).unwrap_err().to_string();
        assert!(error.contains("there is no folder") && error.contains("\nhelp: make it first"), "{error}");
        assert_eq!(new_experiment(Path::new("mine-of-nowhere.yaml")).unwrap(), "mine-of-nowhere");
        for error in [new_experiment(&path).unwrap_err(), write_log_experiment(&path, "mine", "").unwrap_err()] {
            assert!(error.to_string().contains("exists already\nhelp: give another name"), "{error}");
        }
    }

    #[test]
    fn a_file_whose_name_cannot_be_an_experiment_is_not_written() {
        for (file, near) in [("My Log.yaml", "my-log"), ("store.yaml", "my"), ("käse.yml", "k-se"), ("...", "my")] {
            let error = write_template(Path::new(file), "name: a\n").unwrap_err().to_string();
            assert!(
                error.contains("no name for an experiment") && error.ends_with(&format!("`{near}.yaml`")),
                "{error}"
            );
            assert!(!Path::new(file).exists());
        }
    }
}
