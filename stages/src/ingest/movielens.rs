//! MovieLens in the forms that GroupLens publishes it in (Harper and Konstan 2015), told apart by the files in the folder:
//!
//! | release | log | films | people |
//! |---|---|---|---|
//! | 100K | `u.data`, tabs | `u.item`, bars, nineteen flags, with `u.genre` | `u.user`, bars |
//! | 1M, 10M | `ratings.dat`, `::` | `movies.dat`, `::` | `users.dat`, `::` (1M only) |
//! | 20M, 25M, 32M, latest | `ratings.csv` | `movies.csv` | none |
//!
//! A film's year is the number in brackets at the end of its title. Left out: tags, links, genomes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_rows::{Fault, OnBadRow};
use super::expect::Expect;
use super::separated::{Separated, Time, quoted};
use super::shards::Lines;
use super::{NoInputs, Outputs};
use crate::artifact::{Items, Users};

/// `ingest.movielens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovieLens {
    /// The folder with the release's files.
    pub asset: AssetName,
    /// What to do with a row of the log that does not fit.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// What must come out; copies of datasets are often altered.
    #[serde(default)]
    pub expect: Expect,
}

impl Stage for MovieLens {
    const KIND: &'static str = "ingest.movielens";
    /// 1: first. 2: times are rounded down; numbers that do not fit, open quotes and an empty log are refused.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "read MovieLens (100K, 1M, 10M, 20M to 32M, latest) as GroupLens publishes it";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let release = Release::of(folder)?;
        let (items, users) = (release.items(folder)?, release.users(folder)?);
        let path = folder.join(release.log());
        let form = release.form();
        let lines = Lines {
            path: &path,
            header: u64::from(release == Release::Csv),
            columns: ["userId", "movieId"],
            known: [users.as_ref().map(|users| &*users.id), Some(&items.id)],
            parse: &|line, take| take(form.parse(line)),
        };
        let read = lines.read(cx)?;
        read.settle(&path, self.on_bad_row, cx)?;
        let [new_users, _] = read.new;
        let users = users.unwrap_or_else(|| Users { id: new_users, features: BTreeMap::new() });
        let outputs = Outputs { interactions: read.interactions, items, users };
        self.expect.check(&path, read.rows, &outputs)?;
        outputs.say(cx);
        Ok(outputs)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Tabs,
    Colons,
    Csv,
}

impl Release {
    fn of(folder: &Path) -> Result<Self> {
        let all = [Self::Tabs, Self::Colons, Self::Csv];
        let found: Vec<Self> = all.into_iter().filter(|release| folder.join(release.log()).is_file()).collect();
        match found[..] {
            [release] => Ok(release),
            [] => bail!(
                "{} holds none of `u.data`, `ratings.dat`, `ratings.csv`\nhelp: name the folder that the release's archive \
                 unpacks to",
                folder.display()
            ),
            _ => bail!("{} holds several releases; wanted one", folder.display()),
        }
    }

    fn log(self) -> &'static str {
        match self {
            Self::Tabs => "u.data",
            Self::Colons => "ratings.dat",
            Self::Csv => "ratings.csv",
        }
    }

    fn form(self) -> Separated<'static> {
        let separator = match self {
            Self::Tabs => "\t",
            Self::Colons => "::",
            Self::Csv => ",",
        };
        let time = Some(Time::seconds("timestamp", 3));
        Separated { separator, quotes: false, fields: 4, user: 0, item: 1, rating: Some(("rating", 2)), time }
    }

    fn items(self, folder: &Path) -> Result<Items> {
        let mut items = Items::default();
        match self {
            Self::Tabs => {
                let names: Vec<String> =
                    table(&folder.join("u.genre"), |line| Ok(line.split('|').map(str::to_owned).collect()))?
                        .into_iter()
                        .map(|(_, mut fields)| fields.swap_remove(0))
                        .collect();
                let path = folder.join("u.item");
                for (line, fields) in table(&path, |line| Ok(line.split('|').map(str::to_owned).collect()))? {
                    expect_fields(&path, line, &fields, 5 + names.len())?;
                    let flags = fields[5..].iter().zip(&names).filter(|(flag, _)| *flag == "1");
                    push(&mut items, &fields[0], &fields[1], flags.map(|(_, name)| name.clone()).collect());
                }
            }
            Self::Colons | Self::Csv => {
                let csv = self == Self::Csv;
                let path = folder.join(if csv { "movies.csv" } else { "movies.dat" });
                let split = |line: &str| {
                    if csv { quoted(line, ",") } else { Ok(line.split("::").map(str::to_owned).collect()) }
                };
                for (line, fields) in table(&path, split)?.into_iter().skip(usize::from(csv)) {
                    expect_fields(&path, line, &fields, 3)?;
                    let genres =
                        fields[2].split('|').filter(|genre| !genre.is_empty() && *genre != "(no genres listed)");
                    push(&mut items, &fields[0], &fields[1], genres.map(str::to_owned).collect());
                }
            }
        }
        Ok(items)
    }

    fn users(self, folder: &Path) -> Result<Option<Users>> {
        let (name, separator, columns): (_, _, [&str; 4]) = match self {
            Self::Tabs => ("u.user", "|", ["age", "gender", "occupation", "zip_code"]),
            Self::Colons => ("users.dat", "::", ["gender", "age", "occupation", "zip_code"]),
            Self::Csv => return Ok(None),
        };
        let path = folder.join(name);
        if !path.is_file() {
            // The release of 10M has the same form and no people.
            return Ok(None);
        }
        let mut users = Users::default();
        for (line, fields) in table(&path, |line| Ok(line.split(separator).map(str::to_owned).collect()))? {
            expect_fields(&path, line, &fields, 1 + columns.len())?;
            users.id.push(fields[0].clone());
            for (column, value) in columns.iter().zip(&fields[1..]) {
                users.features.entry((*column).to_owned()).or_default().push(value.clone());
            }
        }
        Ok(Some(users))
    }
}

/// The filled lines of a small file with their numbers, split into fields. The older releases are Latin-1.
fn table(path: &Path, split: impl Fn(&str) -> Result<Vec<String>, Fault>) -> Result<Vec<(usize, Vec<String>)>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|&byte| char::from(byte)).collect());
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let fields = |(number, line): (usize, &str)| match split(line) {
        Ok(fields) => Ok((number + 1, fields)),
        Err(fault) => bail!("{}:{}: {fault}", path.display(), number + 1),
    };
    filled.map(fields).collect()
}

fn expect_fields(path: &Path, line: usize, fields: &[String], wanted: usize) -> Result<()> {
    let found = fields.len();
    ensure!(
        found == wanted,
        "{}:{line}: found {found} fields, wanted {wanted}: {:?}",
        path.display(),
        fields.join(" ")
    );
    Ok(())
}

fn push(items: &mut Items, id: &str, title: &str, genres: Vec<String>) {
    let year = title.trim_end().strip_suffix(')').and_then(|rest| rest.rsplit_once('(')).map(|(_, year)| year);
    items.id.push(id.to_owned());
    items.title.push(title.trim().to_owned());
    items.year.push(year.filter(|year| year.len() == 4).and_then(|year| year.parse().ok()));
    items.genres.push(genres);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(files: &[(&str, &[u8])], extra: &str) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let mut cx = Context::detached(folder.path());
        cx.add_asset("ml", folder.path());
        let stage: MovieLens = serde_json::from_str(&format!(r#"{{"asset": "ml"{extra}}}"#)).unwrap();
        stage.run(NoInputs {}, &cx)
    }

    #[test]
    fn the_release_of_1998() {
        let flags = |drama: u8, war: u8| format!("0|{drama}|{war}");
        // A Latin-1 é in the second title.
        let mut item = format!("1|Toy Story (1995)|01-Jan-1995||http://x|{}\n2|Caf", flags(1, 1)).into_bytes();
        item.push(0xe9);
        item.extend(format!(" (1994)|01-Jan-1994||http://y|{}\n3|unknown||||{}\n", flags(0, 1), flags(0, 0)).bytes());
        let outputs = run(
            &[
                ("u.data", b"2\t1\t5\t881250949\n1\t2\t3\t891717742\n"),
                ("u.item", &item),
                ("u.genre", b"unknown|0\nDrama|1\nWar|2\n\n"),
                ("u.user", b"1|24|M|technician|85711\n2|53|F|other|94043\n"),
            ],
            "",
        )
        .unwrap();
        assert_eq!((outputs.interactions.user, outputs.interactions.item), (vec![1, 0], vec![0, 1]));
        assert_eq!(outputs.interactions.timestamp, [881_250_949, 891_717_742]);
        assert_eq!(outputs.items.title, ["Toy Story (1995)", "Caf\u{e9} (1994)", "unknown"]);
        assert_eq!(outputs.items.year, [Some(1995), Some(1994), None]);
        assert_eq!(outputs.items.genres, [vec!["Drama", "War"], vec!["War"], vec![]]);
        assert_eq!(outputs.users.features["occupation"], ["technician", "other"]);
    }

    #[test]
    fn the_releases_with_colons() {
        let films: &[u8] = b"1::Toy Story (1995)::Animation|Comedy\n7::Star Wars: Episode IV (1977)::Action\n";
        let log: &[u8] = b"1::7::5::978300760\n2::1::3.5::978302109\n";
        let people: &[u8] = b"1::F::1::10::48067\n2::M::56::16::70072\n";
        let with = run(&[("ratings.dat", log), ("movies.dat", films), ("users.dat", people)], "").unwrap();
        assert_eq!((with.interactions.item, with.interactions.rating), (vec![1, 0], vec![5.0, 3.5]));
        assert_eq!(with.items.title[1], "Star Wars: Episode IV (1977)");
        assert_eq!(with.users.features["age"], ["1", "56"]);
        let without = run(&[("ratings.dat", log), ("movies.dat", films)], "").unwrap();
        assert_eq!(without.users.id, ["1", "2"]);
    }

    #[test]
    fn the_releases_as_csv() {
        let files: &[(&str, &[u8])] = &[
            ("ratings.csv", b"userId,movieId,rating,timestamp\r\n1,11,4.0,1225734739\r\n1,5,2.5,1225865086\r\n"),
            (
                "movies.csv",
                b"movieId,title,genres\r\n5,\"American President, The (1995)\",Comedy|Drama\r\n11,\"A \"\"Z\"\"\",(no genres listed)\r\n",
            ),
        ];
        let outputs = run(files, r#", "expect": {"interactions": 2, "users": 1, "items": 2}"#).unwrap();
        assert_eq!(outputs.interactions.item, [1, 0]);
        assert_eq!(outputs.items.title, ["American President, The (1995)", "A \"Z\""]);
        assert_eq!((&outputs.items.year, &outputs.items.genres[1]), (&vec![Some(1995), None], &vec![]));
        let error = run(files, r#", "expect": {"interactions": 3}"#).err().unwrap().to_string();
        assert!(error.contains("gave 2 interactions, but the experiment expects 3"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |files: &[(&str, &[u8])]| format!("{:#}", run(files, "").err().unwrap());
        assert!(error(&[]).contains("holds none of `u.data`, `ratings.dat`, `ratings.csv`"));
        let films: &[u8] = b"movieId,title,genres\n1,A (1990),Drama\n";
        let unknown = error(&[("movies.csv", films), ("ratings.csv", b"userId,movieId,rating,timestamp\n1,2,3,4\n")]);
        assert!(
            unknown.contains("ratings.csv:2: column `movieId`: found \"2\", wanted an id that is listed"),
            "{unknown}"
        );
        let short = error(&[("movies.csv", b"movieId,title,genres\n1,A\n"), ("ratings.csv", b"")]);
        assert!(short.contains("movies.csv:2: found 2 fields, wanted 3"), "{short}");
    }
}
