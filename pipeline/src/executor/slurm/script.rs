//! The script of a job array: what `sbatch` is given.

use std::fmt::Write as _;
use std::path::Path;

use super::profile::Profile;
use crate::resources::Resources;

/// What one array is made of.
pub(super) struct Array<'a> {
    pub name: &'a str,
    /// The folder of the lists of the tasks, `<task>.list`, as the nodes see it.
    pub folder_on_nodes: &'a Path,
    pub tasks: usize,
    pub resources: &'a Resources,
    /// The working directory of the run.
    pub directory: &'a Path,
    pub program: &'a Path,
}

/// The text of the script.
pub(super) fn script(array: &Array, profile: &Profile) -> String {
    let Array { resources, .. } = array;
    let limit = profile.array_limit.map(|limit| format!("%{limit}")).unwrap_or_default();
    let option = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{name}={value}"));
    // In whole MiB, for which Slurm has a unit.
    let memory = resources.memory_bytes().map(|bytes| format!("{}M", bytes.div_ceil(1 << 20)));
    let options = [
        Some(format!("--job-name={}", array.name)),
        Some(format!("--array=1-{}{limit}", array.tasks)),
        Some(format!("--output={}", quoted(&array.folder_on_nodes.join("%a.log").display().to_string()))),
        Some("--open-mode=append".into()),
        Some("--requeue".into()),
        Some(format!("--signal=B:INT@{}", profile.grace)),
        Some(format!("--chdir={}", quoted(&array.directory.display().to_string()))),
        Some("--nodes=1".into()),
        Some("--ntasks=1".into()),
        option("partition", &resources.partition),
        option("account", &profile.account),
        option("time", &resources.time),
        resources.cpus.map(|cpus| format!("--cpus-per-task={cpus}")),
        option("mem", &memory),
        option("gres", &resources.gres),
    ];
    let mut text = String::from("#!/bin/bash\n");
    for option in options.into_iter().flatten().chain(profile.extra.iter().cloned()) {
        let _ = writeln!(text, "#SBATCH {option}");
    }
    let mut words: Vec<String> = profile.wrap.iter().map(|word| quoted(word)).collect();
    words.push(quoted(&array.program.display().to_string()));
    words.extend(["work".into(), "--requeue".into(), "--threads".into(), threads(resources).to_string()]);
    words.extend(tables(resources).into_iter().flat_map(|bytes| ["--memory".into(), bytes.to_string()]));
    let list = format!("{}/\"$SLURM_ARRAY_TASK_ID\".list", quoted(&array.folder_on_nodes.display().to_string()));
    // In the place of the shell, so that signals reach the worker.
    let _ = writeln!(text, "exec {} --list {list}", words.join(" "));
    text
}

/// Threads of a worker.
pub(super) fn threads(resources: &Resources) -> usize {
    resources.cpus.map_or(1, |cpus| cpus as usize)
}

/// Bytes that the tables of a worker may take: the rest is for the program itself, which Slurm counts, too.
pub(super) fn tables(resources: &Resources) -> Option<u64> {
    resources.memory_bytes().map(|bytes| bytes / 10 * 9)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=@:,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_stage_and_site_want() {
        let profile: Profile = serde_yaml::from_str(
            "{ account: lab, array_limit: 20, extra: [--qos=long], wrap: [apptainer, exec, /images/a b.sif] }",
        )
        .unwrap();
        let resources =
            serde_yaml::from_str("{ partition: gpu, time: '2:00:00', cpus: 8, memory: 10GiB, gres: 'gpu:1' }");
        let array = Array {
            name: "apprentice-study",
            folder_on_nodes: Path::new("/there/1"),
            tasks: 250,
            resources: &resources.unwrap(),
            directory: Path::new("/home/me"),
            program: Path::new("/opt/apprentice"),
        };
        let wanted = "\
#!/bin/bash
#SBATCH --job-name=apprentice-study
#SBATCH --array=1-250%20
#SBATCH --output=/there/1/%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:INT@120
#SBATCH --chdir=/home/me
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --time=2:00:00
#SBATCH --cpus-per-task=8
#SBATCH --mem=10240M
#SBATCH --gres=gpu:1
#SBATCH --qos=long
exec apptainer exec '/images/a b.sif' /opt/apprentice work --requeue --threads 8 --memory 9663676416 --list /there/1/\"$SLURM_ARRAY_TASK_ID\".list
";
        assert_eq!(script(&array, &profile), wanted);
    }
}
