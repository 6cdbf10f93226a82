//! The whole order of resolution on temporary folders, with a server of this process and stand-ins for pip.

use std::fs::{self, File};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::testing::{Server, reply};
use super::*;

static MADE: AtomicUsize = AtomicUsize::new(0);
static GENERATORS: &[Generator] = &[
    Generator { name: "folder", about: "A folder.", write: write_folder },
    Generator { name: "counted", about: "Counts its calls.", write: write_counted },
];

fn write_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir(path)?;
    Ok(fs::write(path.join("log.inter"), "generated")?)
}

fn write_counted(path: &Path) -> anyhow::Result<()> {
    MADE.fetch_add(1, Ordering::Relaxed);
    Ok(fs::write(path, "counted")?)
}

/// A machine of its own: `data`, `cache` and `base` below one temporary folder, and no pip.
struct TestHost {
    dir: TempDir,
}

impl TestHost {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::create_dir(dir.path().join("base")).unwrap();
        Self { dir }
    }
    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }
    fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
    fn resolver(&self) -> Resolver {
        let mut resolver = Resolver::new(ResolverOptions {
            data: vec![self.path("data"), self.path("more")],
            cache: self.path("cache"),
            offline: false,
            base: self.path("base"),
            generators: GENERATORS,
        });
        resolver.pip = Pip::of(&[&["no-such-pip"]]);
        resolver
    }
    fn fetch(&self, spec: &AssetSpec) -> anyhow::Result<Resolved> {
        fetch(&self.resolver(), spec)
    }
}

fn fetch(resolver: &Resolver, spec: &AssetSpec) -> anyhow::Result<Resolved> {
    resolver.fetch("thing", spec, &Progress::silent(), &Cancel::default())
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from(sources: &str) -> AssetSpec {
    let spec: AssetSpec = serde_yaml::from_str(&format!("from: {sources}")).unwrap();
    spec.check().unwrap();
    spec
}

fn wanting(text: &str, sources: &str) -> AssetSpec {
    AssetSpec { sha256: Some(sha256(text).to_ascii_uppercase()), ..from(sources) }
}

fn read(found: &Resolved) -> String {
    fs::read_to_string(&found.path).unwrap()
}

fn serve(text: &'static str) -> Server {
    Server::start(move |_| reply(200, &[], text.len(), text.as_bytes()))
}

#[test]
fn a_data_folder_comes_before_everything() {
    let machine = TestHost::new();
    machine.write("base/near.txt", "path");
    let spec = from("[{ path: near.txt }]");
    let resolver = machine.resolver();
    assert_eq!(read(&fetch(&resolver, &spec).unwrap()), "path");
    machine.write("more/near.txt", "second folder, by the source's name");
    assert_eq!(read(&fetch(&resolver, &spec).unwrap()), "second folder, by the source's name");
    machine.write("data/thing", "first folder, by the asset's name");
    let found = fetch(&resolver, &spec).unwrap();
    assert_eq!(read(&found), "first folder, by the asset's name");
    assert_eq!(found.origin, format!("data {}", machine.path("data/thing").display()));
    assert_eq!(resolver.known("thing", &spec), Some(found));
}

#[test]
fn a_folder_is_not_taken_for_a_file() {
    let machine = TestHost::new();
    machine.write("data/thing/model.gguf", "inside");
    machine.write("data/model.gguf", "beside");
    let found = machine.fetch(&from("[{ url: 'https://example.invalid/model.gguf' }]")).unwrap();
    assert_eq!(read(&found), "beside");
}

#[test]
fn another_content_in_a_data_folder_is_an_error() {
    let machine = TestHost::new();
    let path = machine.write("data/thing", "wrong");
    let server = serve("right");
    let spec = wanting("right", &format!("[{{ url: '{}' }}]", server.url("a")));
    assert_eq!(machine.resolver().known("thing", &spec), None);
    let error = machine.fetch(&spec).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "asset `thing`: {} has the SHA-256 {}, the experiment wants {}\n\
             help: put the right one there, or remove it to have it fetched",
            path.display(),
            sha256("wrong"),
            sha256("right")
        )
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_path_is_used_where_it_lies_and_read_when_it_changed() {
    let machine = TestHost::new();
    machine.write("logs/mine/a.inter", "1");
    let spec = from("[{ path: ../logs/mine/ }]");
    let before = machine.fetch(&spec).unwrap();
    assert_eq!(fs::canonicalize(&before.path).unwrap(), fs::canonicalize(machine.path("logs/mine")).unwrap());
    machine.write("logs/mine/a.inter", "2");
    let after = machine.resolver().known("thing", &spec).unwrap();
    assert_ne!(before.digest, after.digest);
    assert_eq!((before.sha256, after.sha256), (None, None), "nobody asked");
}

#[test]
fn a_file_that_changes_faster_than_the_clock_ticks_is_never_mistaken() {
    let machine = TestHost::new();
    let spec = from("[{ path: ../logs/mine }]");
    for round in 101..300 {
        let text = round.to_string();
        machine.write("logs/mine", &text);
        // With the SHA-256 that is right, and with that of before.
        let wanting = |text: &str| wanting(text, "[{ path: ../logs/mine }]");
        assert!(machine.resolver().known("thing", &wanting(&text)).is_some(), "round {round}");
        assert!(machine.resolver().known("thing", &wanting(&(round - 1).to_string())).is_none(), "round {round}");
        let found = machine.resolver().known("thing", &spec).unwrap();
        assert_eq!(found.digest, blake3::hash(text.as_bytes()).to_hex().as_str(), "round {round}");
    }
}

#[test]
fn a_download_is_cached_for_every_experiment() {
    let machine = TestHost::new();
    let server = serve("content");
    let spec = from(&format!("[{{ url: '{}' }}]", server.url("a.txt")));
    assert_eq!(machine.resolver().known("thing", &spec), None);
    let first = machine.fetch(&spec).unwrap();
    assert_eq!((read(&first).as_str(), first.sha256.as_deref()), ("content", Some(sha256("content").as_str())));
    assert_eq!(first.digest, blake3::hash(b"content").to_hex().as_str());
    assert!(first.path.ends_with("a.txt"));
    let again = machine.resolver().fetch("other", &spec, &Progress::silent(), &Cancel::default()).unwrap();
    assert_eq!(again, first);
    assert_eq!(machine.resolver().known("thing", &spec), Some(first));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_wrong_download_is_deleted_and_the_next_source_tried() {
    let machine = TestHost::new();
    let (wrong, right) = (serve("wrong"), serve("right"));
    let error =
        machine.fetch(&wanting("right", &format!("[{{ url: '{}' }}]", wrong.url("a")))).unwrap_err().to_string();
    assert!(error.contains(&format!("what came has the SHA-256 {}", sha256("wrong"))), "{error}");
    let left = walk(&machine.path("cache"));
    assert!(!left.iter().any(|path| path.file_name().is_some_and(|name| name == "download")), "{left:?}");
    let spec = wanting("right", &format!("[{{ url: '{}' }}, {{ url: '{}' }}]", wrong.url("a"), right.url("a")));
    let found = machine.fetch(&spec).unwrap();
    assert_eq!((read(&found).as_str(), &found.origin), ("right", &right.url("a")));
    assert_eq!(machine.fetch(&spec).unwrap(), found);
    assert_eq!((wrong.requests().len(), right.requests().len()), (2, 1));
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_killed_download_is_resumed_by_the_next_process() {
    let machine = TestHost::new();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    // The first two requests bring nothing beyond byte 4; what comes after brings the rest.
    let server = Server::start(move |request| {
        let first = request.range().unwrap_or(0);
        let end = if count.fetch_add(1, Ordering::Relaxed) < 2 { 4 } else { 10 };
        let status = if first > 0 { 206 } else { 200 };
        let range = format!("bytes {first}-9/10");
        let headers = [("etag", "\"v\""), ("content-range", range.as_str())];
        reply(status, &headers, 10 - first, &b"0123456789"[first..end])
    });
    let spec = from(&format!("[{{ url: '{}' }}]", server.url("a")));
    let error = machine.fetch(&spec).unwrap_err().to_string();
    assert!(error.contains("the download broke off after 4 bytes"), "{error}");
    assert_eq!(read(&machine.fetch(&spec).unwrap()), "0123456789");
    assert_eq!(server.requests().last().unwrap().range(), Some(4));
}

#[test]
fn a_changed_file_in_the_cache_is_fetched_again() {
    let machine = TestHost::new();
    let server = serve("content");
    let spec = from(&format!("[{{ url: '{}' }}]", server.url("a")));
    let first = machine.fetch(&spec).unwrap();
    fs::write(&first.path, "CONTENT").unwrap();
    // The clock of the file system may be coarser than this test is fast.
    File::options().append(true).open(&first.path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(machine.resolver().known("thing", &spec), None);
    assert_eq!(read(&machine.fetch(&spec).unwrap()), "content");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_flipped_bit_in_the_cache_is_found_and_the_content_fetched_again() {
    let machine = TestHost::new();
    let server = serve("content");
    let spec = from(&format!("[{{ url: '{}' }}]", server.url("a")));
    let check = || verify_cache(&machine.path("cache"), &Progress::silent()).unwrap();
    assert_eq!(check(), Checked::default());
    let first = machine.fetch(&spec).unwrap();
    assert_eq!(check(), Checked { whole: 1, ..Checked::default() });
    fs::write(&first.path, "cOntent").unwrap();
    assert_eq!(check(), Checked { damaged: vec![first.path], ..Checked::default() });
    assert_eq!(check(), Checked::default());
    assert_eq!(read(&machine.fetch(&spec).unwrap()), "content");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_generator_makes_its_folder_once() {
    let machine = TestHost::new();
    let made = machine.fetch(&from("[{ generate: folder }]")).unwrap();
    assert_eq!(fs::read_to_string(made.path.join("log.inter")).unwrap(), "generated");
    assert_eq!(made.origin, "generate folder");
    let spec = from("[{ generate: counted }]");
    let first = machine.fetch(&spec).unwrap();
    assert_eq!(machine.fetch(&spec).unwrap(), first);
    assert_eq!(machine.resolver().known("thing", &spec), Some(first));
    assert_eq!(MADE.load(Ordering::Relaxed), 1);
}

#[test]
fn the_error_lists_every_place_and_what_to_do() {
    let machine = TestHost::new();
    let server = Server::start(|_| reply(404, &[], 0, b""));
    let url = server.url("model.gguf");
    let sources = "[{ url: URL }, { pip: a==1, member: a/model.gguf }, { generate: nothing }, { path: gone.gguf }]";
    let spec = wanting("right", &sources.replace("URL", &format!("'{url}'")));
    let error = machine.fetch(&spec).unwrap_err().to_string();
    let names = "`thing`, no `model.gguf`, no `nothing`, no `gone.gguf`";
    let expected = format!(
        "asset `thing` is not on this machine and no source gives it\n  \
         data {data}: holds no {names}\n  \
         data {more}: is no folder\n  \
         {url}: the server answers 404 Not Found\n  \
         pip a==1 · a/model.gguf: this machine has no pip: tried `no-such-pip`\n  \
         generate nothing: this program has no generator `nothing`; it has `folder`, `counted`\n  \
         path gone.gguf: cannot read `{gone}`: No such file or directory (os error 2)\n\
         help: correct `path: gone.gguf`, which begins at the folder of the experiment file\n\
         help: get the file on another machine, put it at DIR/thing or DIR/model.gguf or DIR/nothing or DIR/gone.gguf \
         (SHA-256 {digest}), and give `--data DIR`",
        data = machine.path("data").display(),
        more = machine.path("more").display(),
        gone = machine.path("base/gone.gguf").display(),
        digest = sha256("right"),
    );
    assert_eq!(error, expected);
}

#[test]
fn offline_uses_no_network_but_the_cache() {
    let machine = TestHost::new();
    let server = serve("content");
    let spec = from(&format!("[{{ url: '{}' }}]", server.url("a")));
    let mut resolver = machine.resolver();
    resolver.options.offline = true;
    let error = fetch(&resolver, &spec).unwrap_err().to_string();
    assert!(error.contains("/a: not tried: the run is offline\nhelp: "), "{error}");
    assert_eq!(server.requests().len(), 0);
    machine.fetch(&spec).unwrap();
    assert_eq!(read(&fetch(&resolver, &spec).unwrap()), "content");
}

#[test]
fn runs_that_want_the_same_at_once_fetch_it_once() {
    let machine = TestHost::new();
    let server = serve("content");
    let spec = from(&format!("[{{ url: '{}' }}]", server.url("a")));
    let all = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| machine.fetch(&spec).unwrap())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.iter().all(|found| *found == all[0]));
    assert_eq!(read(&all[0]), "content");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_cache_that_cannot_be_made_is_named_and_data_folders_still_serve() {
    let machine = TestHost::new();
    let blocked = machine.write("cache", "a file where the folder should be");
    let spec = from("[{ generate: folder }]");
    let error = machine.fetch(&spec).unwrap_err().to_string();
    assert!(error.contains(&format!("generate folder: cannot lock `{}", blocked.display())), "{error}");
    machine.write("data/thing", "mine");
    assert_eq!(read(&machine.fetch(&spec).unwrap()), "mine");
}

#[test]
fn cancel_is_no_failure_of_a_source() {
    let machine = TestHost::new();
    let cancel = Cancel::default();
    cancel.raise();
    let result = machine.resolver().fetch("thing", &from("[{ generate: folder }]"), &Progress::silent(), &cancel);
    assert!(result.unwrap_err().is::<Interrupted>());
}

#[test]
fn the_member_of_an_archive_at_an_address_comes_alone() {
    let machine = TestHost::new();
    let zip = machine.path("a.zip");
    super::wheel::tests::wheel(&zip, &[("coat/train.ascii", "1 0"), ("coat/more/x", "2"), ("README", "3")]);
    let bytes = fs::read(&zip).unwrap();
    let server = Server::start(move |_| reply(200, &[], bytes.len(), &bytes));
    let spec = from(&format!("[{{ url: '{}', member: coat/ }}]", server.url("a.zip")));
    let found = machine.fetch(&spec).unwrap();
    assert!(found.path.ends_with("coat") && found.origin.ends_with("a.zip · coat/"), "{found:?}");
    assert_eq!(fs::read_to_string(found.path.join("more/x")).unwrap(), "2");
    assert!(!found.path.join("README").exists());
    assert_eq!(machine.resolver().known("thing", &spec), Some(found), "it is served from the cache");
    assert_eq!(server.requests().len(), 1);
    let other = from(&format!("[{{ url: '{}', member: boat/ }}]", server.url("a.zip")));
    let error = machine.fetch(&other).unwrap_err().to_string();
    assert!(error.contains("the archive holds no `boat/`; near it: `coat/`"), "{error}");
}

#[test]
fn the_parts_at_addresses_come_in_order_and_a_torn_one_goes_on() {
    let machine = TestHost::new();
    let (first, second) = (serve("0123"), {
        let served = AtomicUsize::new(0);
        // The first two requests bring two bytes and nothing.
        Server::start(move |request| {
            let first = request.range().unwrap_or(0);
            let end = if served.fetch_add(1, Ordering::Relaxed) < 2 { 2 } else { 6 };
            let range = format!("bytes {first}-5/6");
            let headers = [("etag", "\"v\""), ("content-range", range.as_str())];
            reply(if first > 0 { 206 } else { 200 }, &headers, 6 - first, &b"456789"[first..end])
        })
    });
    let sources = format!("[{{ url: ['{}', '{}'], concatenate: true }}]", first.url("a.1"), second.url("a.2"));
    let spec = wanting("0123456789", &sources);
    let error = machine.fetch(&spec).unwrap_err().to_string();
    assert!(error.contains("(2 parts): part 2 of 2, http") && error.contains("broke off after 2 bytes"), "{error}");
    let found = machine.fetch(&spec).unwrap();
    assert_eq!(read(&found), "0123456789");
    assert_eq!(machine.resolver().known("thing", &spec), Some(found));
    assert_eq!((first.requests().len(), second.requests().last().unwrap().range()), (1, Some(2)));
}

#[test]
fn a_data_folder_may_hold_a_file_where_a_path_leads_inwards() {
    let machine = TestHost::new();
    machine.write("data/coat/truth.ascii", "1");
    let found = machine.fetch(&from("[{ path: coat/truth.ascii }]")).unwrap();
    assert_eq!(read(&found), "1");
    machine.write("truth.ascii", "outside");
    assert!(machine.fetch(&from("[{ path: ../truth.ascii/x }]")).is_err());
}

#[cfg(unix)]
#[test]
fn the_member_of_a_package_comes_through_pip() {
    let machine = TestHost::new();
    super::wheel::tests::wheel(&machine.path("a-1-py3-none-any.whl"), &[("a/log/x.inter", "1"), ("a/log/x.item", "2")]);
    let script = r#"[ "$1" = --version ] && exit 0; while [ "$1" != --dest ]; do shift; done; cp "$0" "$2""#;
    let mut resolver = machine.resolver();
    let wheel = machine.path("a-1-py3-none-any.whl");
    resolver.pip = Pip::of(&[&["sh", "-c", script, wheel.to_str().unwrap()]]);
    let spec = from("[{ pip: a==1, member: a/log/ }]");
    let found = fetch(&resolver, &spec).unwrap();
    assert!(found.path.ends_with("log"));
    assert_eq!(fs::read_to_string(found.path.join("x.item")).unwrap(), "2");
    // The stand-in is gone, so this must come from the cache.
    assert_eq!(machine.resolver().known("thing", &spec), Some(found.clone()));
    fs::write(found.path.join("stray"), "").unwrap();
    assert_eq!(machine.resolver().known("thing", &spec), None);
}

/// The one test here that leaves the machine: the real pip and the package of the quickstart's data set.
#[test]
fn the_real_pip_fetches_the_real_data_set() {
    let machine = TestHost::new();
    let mut resolver = machine.resolver();
    resolver.pip = Pip::default();
    let spec = from("[{ pip: recbole==1.2.1, member: recbole/dataset_example/ml-100k/ }]");
    let found = match fetch(&resolver, &spec) {
        Ok(found) => found,
        Err(error) => {
            let text = error.to_string();
            let no_network =
                text.contains("download recbole==1.2.1` failed") || text.contains("this machine has no pip");
            let required = std::env::var_os("APPRENTICE_REQUIRE_NETWORK").is_some_and(|value| value == "1");
            assert!(no_network && !required, "{text}");
            println!("skipped: {text}");
            return;
        }
    };
    let log = fs::read_to_string(found.path.join("ml-100k.inter")).unwrap();
    assert_eq!(log.lines().count(), 100_001);
    assert!(resolver.known("thing", &spec).is_some());
}
