//! How much memory the largest tables of a stage take, and the most that they may.
//!
//! A stage states what it needs from the sizes of its inputs ([`Stage::memory`](crate::Stage::memory)). Sizes are read from the files
//! that exist; those that do not exist yet have the sizes that their stages promise ([`Stage::sizes`](crate::Stage::sizes)). `plan` shows
//! need and cap, and a stage that needs more than the cap ends before it begins. The cap is `--memory`, by default the machine's memory
//! or what its control groups grant. The [allocator](crate::out_of_memory) holds the process to it, too, so that an error comes
//! before the system kills the process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Tables that take less are not mentioned, unless they exceed the cap.
pub(crate) const WORTH_SAYING: u64 = 64 << 20;

/// How many users, items and the like there are, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes(BTreeMap<&'static str, u64>);

impl Sizes {
    /// So many `name` (`users`).
    #[must_use]
    pub fn of(name: &'static str, count: usize) -> Self {
        Self([(name, count as u64)].into())
    }
    /// These and those; the larger one where both say something.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for (name, count) in others.0 {
            let known = self.0.entry(name).or_default();
            *known = count.max(*known);
        }
        self
    }
    /// These, with so many `name` whatever they said.
    #[must_use]
    pub fn with(mut self, name: &'static str, count: usize) -> Self {
        self.0.insert(name, count as u64);
        self
    }
    /// How many; none where it is not known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}

/// What the largest tables of a stage take together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    tables: Vec<(String, u64)>,
    help: String,
}

impl MemoryNeed {
    /// Of no table yet; `help` says which settings lower it.
    #[must_use]
    pub fn new(help: impl Into<String>) -> Self {
        Self { tables: Vec::new(), help: help.into() }
    }
    /// And a table of this name (`rewards, users × items`) and this many numbers of so many bytes.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, shape: &[u64], bytes_each: u64) -> Self {
        self.tables.push((name.into(), shape.iter().fold(bytes_each, |all, &count| all.saturating_mul(count))));
        self
    }
    /// In bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.tables.iter().fold(0, |all, (_, bytes)| all.saturating_add(*bytes))
    }
    /// What lowers it.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
    /// Whether it is as much as `cap` allows.
    ///
    /// # Errors
    /// [`MemoryExceeded`] with both and what to lower.
    pub fn check(&self, cap: u64) -> Result<(), MemoryExceeded> {
        if self.total() <= cap { Ok(()) } else { Err(MemoryExceeded { need: self.clone(), cap }) }
    }
    /// `needs 1.5 GiB of at most 8.0 GiB`.
    pub(crate) fn words(&self, cap: u64) -> String {
        let (need, link) = (self.total(), if self.total() > cap { ", more than the" } else { " of at most" });
        format!("needs {}{link} {}", bytes(need), bytes(cap))
    }
}

impl MemoryNeed {
    /// The same, with what would fit where it is too much.
    pub(crate) fn words_with_help(&self, cap: u64) -> String {
        let too_much = self.total() > cap && !self.help.is_empty();
        if too_much { format!("{}: {}", self.words(cap), self.help) } else { self.words(cap) }
    }
}

/// The error of a stage whose tables would exceed the cap, or of a table that the system refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct MemoryExceeded {
    need: MemoryNeed,
    cap: u64,
}

impl MemoryExceeded {
    fn text(&self) -> String {
        let mut tables = self.need.tables.clone();
        tables.sort_by_key(|table| std::cmp::Reverse(table.1));
        let tables: Vec<String> = tables.into_iter().map(|(name, size)| format!("{name}: {}", bytes(size))).collect();
        let help = self.need.help();
        format!(
            "its tables need {}, and the cap is {} ({})\nhelp: {help}{}or raise the cap, as with `--memory {}`",
            bytes(self.need.total()),
            bytes(self.cap),
            tables.join("; "),
            if help.is_empty() { "" } else { "\nhelp: " },
            whole(self.need.total())
        )
    }
}

/// A table of `len` zeros.
///
/// # Errors
/// When there is no memory for it, naming the table.
pub fn zeros<T: Clone + Default>(name: &str, len: usize) -> Result<Vec<T>, TableRefused> {
    let mut table = Vec::new();
    let refused = |_| TableRefused { name: name.to_owned(), bytes: len.saturating_mul(size_of::<T>()) as u64 };
    table.try_reserve_exact(len).map_err(refused)?;
    table.resize(len, T::default());
    Ok(table)
}

/// There is no memory for a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: the table `{name}` of {} could not be had", self::bytes(*bytes))]
pub struct TableRefused {
    name: String,
    bytes: u64,
}

/// Whether an error is of memory that could not be had.
pub(crate) fn is_shortage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<MemoryExceeded>() || cause.is::<TableRefused>()
}

/// The memory of this machine, or what the control groups of this process grant where that is less; unlimited where neither is
/// known.
pub(crate) fn of_machine() -> u64 {
    let text = |path: &str| fs::read_to_string(path).ok();
    let machine = text("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let group = of_group(&text("/proc/self/cgroup").unwrap_or_default(), Path::new("/sys/fs/cgroup"));
    machine.into_iter().chain(group).min().unwrap_or(u64::MAX)
}

/// The least that a control group of this process or one above it grants; `groups` is its `/proc/self/cgroup` and `root` where the groups
/// are mounted. None without a limit.
fn of_group(groups: &str, root: &Path) -> Option<u64> {
    // Each line is `number:controllers:path`; version 2 has no controllers. A container may show its group as the root.
    let mut files = vec![root.join("memory.max"), root.join("memory/memory.limit_in_bytes")];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, name) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            some if some.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        // A group outside of what this process sees is told by `..`.
        let below = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        let group = mount.join(below.collect::<PathBuf>());
        files.extend(group.ancestors().take_while(|above| above.starts_with(&mount)).map(|above| above.join(name)));
    }
    // A group without a limit says `max` in version 2, and a number beyond any machine in version 1.
    let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    files.into_iter().filter_map(limit).min()
}

/// The forms of a size, for a message.
const FORMS: &str = "wanted a size such as `8GiB`: `1.5GiB`, `1.5G` or `512MiB` (by 1,024), `1.5GB` or `512MB` (by 1,000), or a number of \
                     bytes; units are K, M, G and T";

/// Reads `8GiB`, `500MB`, `1.5g` or a number of bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim().find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.trim().len());
    let (number, unit) = text.trim().split_at(digits);
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "kib" | "k" => Some(1024.0),
        "mib" | "m" => Some(1_048_576.0),
        "gib" | "g" => Some(1_073_741_824.0),
        "tib" | "t" => Some(1_099_511_627_776.0),
        "kb" => Some(1e3),
        "mb" => Some(1e6),
        "gb" => Some(1e9),
        "tb" => Some(1e12),
        _ => None,
    };
    let size = number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale);
    size.filter(|size| *size >= 1.0).map(|size| size as u64).ok_or_else(|| FORMS.to_owned())
}

/// `512 B`, `1.5 KiB`, `96.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64 / 1024.0;
    if size < 1.0 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// The next whole number of a unit, for the command line.
fn whole(bytes: u64) -> String {
    match bytes {
        bytes if bytes > 1 << 30 => format!("{}GiB", bytes.div_ceil(1 << 30)),
        bytes => format!("{}MiB", bytes.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let sizes = ["8GiB", "8 gib", "1.5g", "500MB", "4096", "1b", " 2T "].map(|text| parse(text).unwrap());
        assert_eq!(sizes, [8 << 30, 8 << 30, 3 << 29, 500_000_000, 4096, 1, 2 << 40]);
        // Each form that the message names.
        let named = ["8GiB", "1.5GiB", "1.5G", "512MiB", "1.5GB", "512MB"];
        assert!(named.iter().all(|form| FORMS.contains(&format!("`{form}`")) && parse(form).is_ok()));
        for text in ["", "GiB", "-1", "0", "0.2b", "8 apples", "1e3", "1..2g", "8GiBs"] {
            assert_eq!(parse(text), Err(FORMS.to_owned()), "{text}");
        }
        assert!(of_machine() > 1 << 20);
        assert_eq!([0, 1023, 1536, 1 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "1.0 GiB"]);
    }

    #[test]
    fn the_least_of_the_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let limit = |group: &str, name: &str, text: &str| {
            fs::create_dir_all(root.path().join(group)).unwrap();
            fs::write(root.path().join(group).join(name), text).unwrap();
        };
        let found = |groups: &str| of_group(groups, root.path());
        assert_eq!(found("0::/user.slice/job\n"), None);
        limit("user.slice", "memory.max", "8589934592\n");
        limit("user.slice/job", "memory.max", "max\n");
        assert_eq!(found("0::/user.slice/job\n"), Some(8 << 30), "of the group above");
        assert_eq!(found("0::/user.slice/job/gone\n"), Some(8 << 30));
        assert_eq!(found("0::/other\n"), None);
        limit("", "memory.max", "4294967296");
        assert_eq!(found("0::/other\n"), Some(4 << 30));
        assert_eq!(found("0::/../user.slice\nnonsense\n"), Some(4 << 30));
        limit("memory/docker/x", "memory.limit_in_bytes", "1073741824");
        assert_eq!(found("9:cpu:/docker/x\n4:hugetlb,memory:/docker/x\n"), Some(1 << 30), "of version 1");
        assert_eq!(found("9:cpu:/docker/x\n4:memory:/docker\n"), Some(4 << 30));
    }

    #[test]
    fn a_need_beyond_the_cap_names_tables_need_cap_and_what_to_lower() {
        let need = MemoryNeed::new("lower `ensemble_size`").table("distances", &[6_012, 6_012], 4).table(
            "rewards",
            &[190_365, 6_012],
            4,
        );
        assert_eq!(need.total(), 4 * 6_012 * (190_365 + 6_012));
        assert_eq!(need.words(8 << 30), "needs 4.4 GiB of at most 8.0 GiB");
        assert_eq!(need.words(1 << 30), "needs 4.4 GiB, more than the 1.0 GiB");
        assert_eq!(need.check(8 << 30), Ok(()));
        assert_eq!(
            need.check(1 << 30).unwrap_err().to_string(),
            "its tables need 4.4 GiB, and the cap is 1.0 GiB (rewards: 4.3 GiB; distances: 137.9 MiB)\n\
             help: lower `ensemble_size`\nhelp: or raise the cap, as with `--memory 5GiB`"
        );
        assert_eq!(MemoryNeed::new("").table("all", &[u64::MAX, 3], 4).total(), u64::MAX);
    }

    #[test]
    fn a_table_that_cannot_be_had_is_an_error_with_its_name() {
        assert_eq!(zeros::<f32>("rewards", 3), Ok(vec![0.0; 3]));
        let refused = zeros::<f32>("rewards", isize::MAX as usize / 4).unwrap_err();
        assert_eq!(refused.to_string(), "out of memory: the table `rewards` of 8.0 EiB could not be had");
    }

    #[test]
    fn sizes_of_several_inputs_are_the_larger() {
        let both = Sizes::of("users", 3).and(Sizes::of("items", 5)).and(Sizes::of("users", 2));
        assert_eq!(["users", "items", "rows"].map(|name| both.get(name)), [Some(3), Some(5), None]);
        assert_eq!(both.with("users", 2).get("users"), Some(2), "a sample is smaller");
    }
}
