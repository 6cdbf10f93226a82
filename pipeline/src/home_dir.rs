//! `~` at the beginning of a path is the user's home: a shell puts it there in many places, but not in `--artifacts=~/x`, in an
//! environment file or in an experiment, and a folder that is really named `~` is nobody's wish.

use std::path::{Path, PathBuf};

/// The path with `~` or `~/…` led to the home; unchanged where it begins otherwise, or where there is no home.
pub(crate) fn expand_tilde(path: &Path) -> PathBuf {
    led_to(path, std::env::home_dir())
}

fn led_to(path: &Path, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home,
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_first_part_is_the_home() {
        let led = |path: &str| led_to(Path::new(path), Some("/home/ada".into())).display().to_string();
        assert_eq!(["~", "~/", "~/a/~"].map(led), ["/home/ada", "/home/ada", "/home/ada/a/~"]);
        for path in ["./~/a", "~ada/a", "a/~", "~a", "", "/~"] {
            assert_eq!(led(path), path);
        }
        assert_eq!(led_to(Path::new("~/a"), None), Path::new("~/a"));
    }
}
