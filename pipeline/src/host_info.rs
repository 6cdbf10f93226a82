//! What kind of machine this is, for the records of runs: times mean little without it.

use std::fs;

/// `linux x86_64, 2 cores of AMD EPYC 7B13, 7.8 GiB`; what the system does not tell is left out.
pub(crate) fn describe() -> String {
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = format!("{cores} {}", if cores == 1 { "core" } else { "cores" });
    let processor = field("/proc/cpuinfo", "model name").map(|name| format!(" of {name}")).unwrap_or_default();
    let kib = field("/proc/meminfo", "MemTotal").and_then(|size| size.strip_suffix(" kB")?.trim().parse::<f64>().ok());
    let memory = kib.map(|kib| format!(", {:.1} GiB", kib / (1 << 20) as f64)).unwrap_or_default();
    format!("{system}, {cores}{processor}{memory}")
}

/// The value of the first line `name: value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned());
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_system_and_its_cores() {
        let info = describe();
        assert!(info.starts_with(std::env::consts::OS) && info.contains(" core"), "{info}");
    }
}
