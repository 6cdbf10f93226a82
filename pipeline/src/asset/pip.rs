//! Downloads a wheel with the machine's own pip, so that its settings (proxy, certificates, mirror, cache) hold.
//!
//! Nothing is installed and no code of the package runs: only built packages are asked for, and without what they need.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Work;

/// How often the download is looked at, and the longest that a cancel waits.
const GLANCE: Duration = Duration::from_millis(100);
/// How many lines of pip's complaint an error repeats.
const TAIL: usize = 6;

/// The commands that may be a pip on this machine, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Pip {
    commands: Vec<Vec<String>>,
}

impl Default for Pip {
    fn default() -> Self {
        Self::of(&[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]])
    }
}

/// One line that pip wrote.
enum Line {
    Out(String),
    Err(String),
}

/// The downloads under way: a process that leaves in the middle of its work drops nothing.
static UNDER_WAY: Mutex<Vec<Weak<Mutex<Child>>>> = Mutex::new(Vec::new());

/// Kills its process when dropped, so that no way out leaves a download behind.
struct Killed(Arc<Mutex<Child>>);

impl Killed {
    fn new(child: Child) -> Self {
        let child = Arc::new(Mutex::new(child));
        let mut all = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&child));
        Self(child)
    }
    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child().kill();
        let _ = self.child().wait();
    }
}

/// Ends every download of this process, which is about to leave.
pub(crate) fn end_children() {
    for child in UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }
}

impl Pip {
    pub(super) fn of(commands: &[&[&str]]) -> Self {
        Self { commands: commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect() }
    }

    /// Downloads the wheel of `requirement` (`package==version`) into the empty folder `scratch` and returns its path.
    ///
    /// # Errors
    /// When there is no pip, or with the end of what pip says; [`crate::Interrupted`] when cancelled.
    pub(super) fn download(&self, requirement: &str, scratch: &Path, work: &Work) -> anyhow::Result<PathBuf> {
        let command = self.find()?;
        let place = || format!("cannot use `{}`", scratch.display());
        let (wheels, temporary) = (scratch.join("wheels"), scratch.join("temporary"));
        fs::create_dir_all(&wheels).with_context(place)?;
        fs::create_dir_all(&temporary).with_context(place)?;
        let mut child = Command::new(&command[0]);
        child
            .args(&command[1..])
            .args(["download", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--retries=2"])
            .arg("--dest")
            .arg(&wheels)
            .arg(requirement)
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Here its growing file can be watched (a bar of its own it has for terminals only), and goes with `scratch`.
        for variable in ["TMPDIR", "TEMP", "TMP"] {
            child.env(variable, &temporary);
        }
        let child = child.spawn().with_context(|| format!("cannot start `{}`", command.join(" ")))?;
        let complaint = watch(&Killed::new(child), &temporary, work)?;
        if let Some(complaint) = complaint {
            bail!("`{} download {requirement}` failed:\n{complaint}", command.join(" "));
        }
        let mut found = fs::read_dir(&wheels).with_context(place)?.filter_map(|entry| Some(entry.ok()?.path()));
        match found.find(|path| path.extension().is_some_and(|extension| extension == "whl")) {
            Some(wheel) => Ok(wheel),
            None => bail!("`{} download {requirement}` gave no wheel", command.join(" ")),
        }
    }

    /// The first command that answers; a Python without pip and a missing program do not.
    fn find(&self) -> anyhow::Result<&[String]> {
        let answers = |words: &&Vec<String>| {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg("--version");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let Some(found) = self.commands.iter().find(answers) else {
            let tried: Vec<String> = self.commands.iter().map(|words| format!("`{}`", words.join(" "))).collect();
            bail!("this machine has no pip: tried {}", tried.join(", "));
        };
        Ok(found)
    }
}

/// Waits for pip's end with a bar of the bytes in `temporary`; `Some` is the end of its complaint where it failed.
fn watch(pip: &Killed, temporary: &Path, work: &Work) -> anyhow::Result<Option<String>> {
    let (send, lines) = mpsc::channel();
    let out = pip.child().stdout.take();
    let err = pip.child().stderr.take();
    listen(out, Line::Out, send.clone());
    listen(err, Line::Err, send);
    let bar = work.bar("pip download", None, "bytes");
    let (mut counted, mut said, mut complaint) = (0, String::new(), VecDeque::new());
    loop {
        work.check_cancelled()?;
        match lines.recv_timeout(GLANCE) {
            Ok(Line::Out(line)) => line.trim().clone_into(&mut said),
            Ok(Line::Err(line)) => {
                complaint.push_back(line);
                complaint.drain(..complaint.len().saturating_sub(TAIL));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let present = bytes_below(temporary);
        bar.inc_with(present.saturating_sub(counted), &said);
        counted = counted.max(present);
    }
    let status = loop {
        work.check_cancelled()?;
        if let Some(status) = pip.child().try_wait().context("cannot wait for pip")? {
            break status;
        }
        std::thread::sleep(GLANCE);
    };
    // Ctrl-C reaches pip too; its failure then is no news.
    work.check_cancelled()?;
    if status.success() {
        return Ok(None);
    }
    if complaint.is_empty() {
        return Ok(Some(format!("it says nothing and ends with {status}")));
    }
    Ok(Some(Vec::from(complaint).join("\n")))
}

/// Sends each line of a stream; ends with the stream, or when nobody listens any more.
fn listen(stream: Option<impl Read + Send + 'static>, line: fn(String) -> Line, send: mpsc::Sender<Line>) {
    let Some(stream) = stream else { return };
    std::thread::spawn(move || {
        for bytes in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if !text.is_empty() && send.send(line(text)).is_err() {
                return;
            }
        }
    });
}

/// Bytes in the files below `folder`; what vanishes while it is counted counts nothing.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A stand-in for pip: `script` sees the words after `download` as `$@` and the target folder as `$dest`.
    fn stand_in(script: &str) -> Pip {
        let parse = r#"[ "$1" = --version ] && exit 0; shift; while [ "$1" != --dest ]; do shift; done; dest=$2; "#;
        Pip::of(&[&["sh", "-c", &format!("{parse}{script}"), "pip"]])
    }

    fn download(pip: &Pip, work: &Work) -> (tempfile::TempDir, anyhow::Result<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let result = pip.download("a==1", dir.path(), work);
        (dir, result)
    }

    #[test]
    fn the_wheel_is_found() {
        let pip = stand_in(r#"echo "Saved $3"; echo wheel > "$dest/a-1-py3-none-any.whl""#);
        let (_dir, result) = download(&pip, &Work::silent());
        assert_eq!(fs::read_to_string(result.unwrap()).unwrap(), "wheel\n");
    }

    #[test]
    fn the_complaint_of_pip_is_repeated() {
        let pip = stand_in("seq 1 9 >&2; echo 'ERROR: no matching distribution' >&2; exit 1");
        let error = download(&pip, &Work::silent()).1.unwrap_err().to_string();
        assert!(error.ends_with("download a==1` failed:\n5\n6\n7\n8\n9\nERROR: no matching distribution"), "{error}");
    }

    #[test]
    fn a_machine_without_pip_is_told_what_was_tried() {
        let pip = Pip::of(&[&["no-such-python", "-m", "pip"], &["false"]]);
        let error = download(&pip, &Work::silent()).1.unwrap_err().to_string();
        assert_eq!(error, "this machine has no pip: tried `no-such-python -m pip`, `false`");
    }

    #[test]
    fn cancel_kills_it() {
        let work = Work::silent();
        work.cancel.raise();
        let started = std::time::Instant::now();
        let (_dir, result) = download(&stand_in("exec sleep 600"), &work);
        assert!(result.unwrap_err().is::<crate::Interrupted>());
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
