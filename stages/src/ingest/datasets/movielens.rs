//! MovieLens as GroupLens publishes it (Harper and Konstan 2015). The files in the folder decide the release:
//!
//! | release | log | films | users |
//! |---|---|---|---|
//! | 100K | `u.data`, tabs | `u.item`, bars, nineteen flags, with `u.genre` | `u.user`, bars |
//! | 1M, 10M | `ratings.dat`, `::` | `movies.dat`, `::` | `users.dat`, `::` (1M only) |
//! | 20M, 25M, 32M, latest | `ratings.csv` | `movies.csv` | none |
//!
//! A film's year is the number in brackets at the end of its title. A header decides the columns, also where a copy renames or adds
//! some; without a header, the columns are in the published order. Left out: tags, links, genomes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Items, TextFile, Users};
use crate::ingest::readers::bad_rows::{Fault, OnBadRow};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::delimited::{Delimited, Time, fields, is_header};
use crate::ingest::readers::header::{Header, check_unique, looks_like_header};
use crate::ingest::readers::line_log::Lines;
use crate::ingest::readers::row_counts::ExpectedRows;
use crate::ingest::readers::row_ends::rows;
use crate::ingest::readers::shard::note_missing_ratings;
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::readers::{genres, integers};
use crate::ingest::{NoInputs, Outputs};

/// The names of the columns in the releases and in copies of them; the first that occurs counts.
const USER: &[&str] = &["userId", "user"];
const FILM: &[&str] = &["movieId", "movie", "itemId", "item", "filmId"];
const RATING: &[&str] = &["rating"];
const TIME: &[&str] = &["timestamp", "time"];
const TITLE: &[&str] = &["title", "movieTitle", "name"];
const GENRES: &[&str] = &["genres", "genre"];

/// `ingest.movielens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovieLens {
    /// The folder with the release's files.
    pub asset: AssetName,
    /// Treatment of invalid rows of the log.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// Expected numbers of rows; copies of datasets are often altered.
    #[serde(default)]
    pub expected_rows: ExpectedRows,
}

impl Stage for MovieLens {
    const KIND: &'static str = "ingest.movielens";
    /// 1: first. 2: times are rounded down; numbers out of range, open quotes and an empty log are refused. 3: a header decides the
    /// columns, and a first line that is not a header is a row; a quote opens a field only at its beginning. 4: dates in text and other units than seconds are times; a year beyond 9999 is refused.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read MovieLens (100K, 1M, 10M, 20M to 32M, latest) as GroupLens publishes it";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let release = Release::of(folder)?;
        let (items, users) = (release.items(folder, cx)?, release.users(folder, cx)?);
        let path = folder.join(release.log());
        let file = TextFile::new(&path);
        let header = release.header(&file, &[USER, FILM])?;
        let mut form = release.form(header.as_ref(), cx)?;
        // Copies of the releases have dates in text.
        let times = form.time_form(&file)?;
        form.time = form.time.map(|time| Time { form: &times, ..time });
        let lines = Lines {
            file: &file,
            header: u64::from(header.is_some()),
            quoted_by: form.quoted_by(),
            columns: ["userId", "movieId"],
            known: [users.as_ref().map(|users| &*users.id), Some(&items.id)],
            parse: &|line, take| take(form.parse(line)),
        };
        let mut read = lines.read(cx)?;
        read.finish(&path, self.on_bad_row, cx)?;
        if times != *TimeForm::SECONDS {
            read.note_times(&times, "timestamp", cx);
        }
        if form.rating.is_none() {
            note_missing_ratings(&path, cx);
        }
        let [new_users, _] = read.new;
        let users = users.unwrap_or_else(|| Users { id: new_users, features: BTreeMap::new() });
        let outputs = Outputs { interactions: read.interactions, items, users };
        self.expected_rows.check(&path, read.rows, &outputs)?;
        outputs.note_counts(cx);
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
                "{} holds none of `u.data`, `ratings.dat`, `ratings.csv`\nhelp: name the folder of the \
                 extracted archive",
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

    fn separator(self) -> &'static str {
        match self {
            Self::Tabs => "\t",
            Self::Colons => "::",
            Self::Csv => ",",
        }
    }

    /// The first line of a file, where it names columns.
    fn header(self, file: &TextFile, known: &[&[&str]]) -> Result<Option<Header>> {
        let line = file.first_line()?;
        // A line that cannot be split is reported where it is read as a row.
        let names = fields(&line, self.separator(), self == Self::Csv).unwrap_or_default();
        if line.trim().is_empty() || !looks_like_header(&names, &known.concat()) {
            return Ok(None);
        }
        check_unique(file.name(), &names)?;
        Ok(Some(Header { file: file.name().to_path_buf(), names, line }))
    }

    fn form<'h>(self, header: Option<&'h Header>, cx: &Context) -> Result<Delimited<'h>> {
        let (separator, quotes) = (self.separator(), self == Self::Csv);
        let Some(named) = header else {
            let (rating, time) = (Some(("rating", 2)), Some(Time::seconds("timestamp", 3)));
            return Ok(Delimited {
                separator,
                quotes,
                trims: false,
                decimal: Decimal::Point,
                header: None,
                fields: 4,
                user: 0,
                item: 1,
                rating,
                time,
            });
        };
        let time = named.any_of(TIME)?;
        if time.is_none() {
            let name = named.file.file_name().unwrap_or_default().to_string_lossy();
            cx.note("times", format!("{name} has no column of times: all are 0"));
        }
        Ok(Delimited {
            separator,
            quotes,
            trims: false,
            decimal: Decimal::Point,
            header: Some(&named.line),
            fields: named.names.len(),
            user: named.one_of(USER)?,
            item: named.one_of(FILM)?,
            rating: named.any_of(RATING)?.map(|at| ("rating", at)),
            time: time.map(|at| Time::seconds("timestamp", at)),
        })
    }

    fn items(self, folder: &Path, cx: &Context) -> Result<Items> {
        let mut items = Items::default();
        match self {
            Self::Tabs => {
                let file = TextFile::new(&folder.join("u.genre"));
                let names: Vec<String> =
                    self.rows(&file, "|", None)?.into_iter().map(|(_, mut fields)| fields.swap_remove(0)).collect();
                let file = TextFile::new(&folder.join("u.item"));
                for (line, fields) in self.rows(&file, "|", None)? {
                    expect_fields(&file, line, &fields, 5 + names.len())?;
                    let flags = fields[5..].iter().zip(&names).filter(|(flag, _)| *flag == "1");
                    push(&mut items, &fields[0], &fields[1], flags.map(|(_, name)| name.clone()).collect());
                }
            }
            Self::Colons | Self::Csv => {
                let file = TextFile::new(&folder.join(if self == Self::Csv { "movies.csv" } else { "movies.dat" }));
                let header = self.header(&file, &[FILM])?;
                let (width, [id, title, listed]) = match &header {
                    None => (3, [0, 1, 2]),
                    Some(named) => {
                        (named.names.len(), [named.one_of(FILM)?, named.one_of(TITLE)?, named.one_of(GENRES)?])
                    }
                };
                for (line, fields) in self.rows(&file, self.separator(), header.as_ref())? {
                    expect_fields(&file, line, &fields, width)?;
                    let value = fields[listed].clone().into();
                    let genres = genres::parse(Some(&value), "|", "genres");
                    let genres =
                        genres.map_err(|fault| anyhow::anyhow!("{}:{line}: {fault}", file.name().display()))?;
                    push(&mut items, &fields[id], &fields[title], genres);
                }
                if integers::strip_fractions(&mut items.id) {
                    integers::note_stripped("movieId", file.name(), cx);
                }
            }
        }
        Ok(items)
    }

    fn users(self, folder: &Path, cx: &Context) -> Result<Option<Users>> {
        let (name, separator, columns): (_, _, [&str; 4]) = match self {
            Self::Tabs => ("u.user", "|", ["age", "gender", "occupation", "zip_code"]),
            Self::Colons => ("users.dat", "::", ["gender", "age", "occupation", "zip_code"]),
            Self::Csv => return Ok(None),
        };
        let file = TextFile::new(&folder.join(name));
        if !file.path().is_file() {
            // The release of 10M has the same format and no users.
            return Ok(None);
        }
        let mut users = Users::default();
        for (line, fields) in self.rows(&file, separator, None)? {
            expect_fields(&file, line, &fields, 1 + columns.len())?;
            users.id.push(fields[0].clone());
            for (column, value) in columns.iter().zip(&fields[1..]) {
                users.features.entry((*column).to_owned()).or_default().push(value.clone());
            }
        }
        if integers::strip_fractions(&mut users.id) {
            integers::note_stripped("userId", file.name(), cx);
        }
        Ok(Some(users))
    }

    /// The non-empty lines of a small file after its header, with their numbers, split into fields. The releases without a header are
    /// Latin-1; those in CSV are UTF-8, where an invalid byte is a fault.
    fn rows(self, file: &TextFile, separator: &str, header: Option<&Header>) -> Result<Vec<(u64, Vec<String>)>> {
        let text = match (String::from_utf8(file.bytes()?), self) {
            (Ok(text), _) => text,
            (Err(error), Self::Csv) => file.utf8(error.into_bytes())?,
            (Err(error), _) => error.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
        };
        let quoted_by = separator.bytes().next().filter(|_| self == Self::Csv);
        let rows = rows(text.as_bytes(), quoted_by, file)?.into_iter().skip(usize::from(header.is_some()));
        let mut parted = Vec::new();
        for (number, row) in rows {
            let line = str::from_utf8(row)?.trim_end_matches(['\n', '\r']);
            if line.trim().is_empty() {
                continue;
            }
            let again = header.filter(|header| is_header(line, &header.line)).map(|_| Err(Fault::repeated_header()));
            match again.unwrap_or_else(|| fields(line, separator, self == Self::Csv)) {
                Ok(fields) => parted.push((number, fields)),
                Err(fault) => bail!("{}:{number}: {fault}", file.name().display()),
            }
        }
        Ok(parted)
    }
}

fn expect_fields(file: &TextFile, line: u64, fields: &[String], wanted: usize) -> Result<()> {
    let found = fields.len();
    ensure!(
        found == wanted,
        "{}:{line}: found {found} fields, wanted {wanted}: {:?}",
        file.name().display(),
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
    use std::fs;

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
        let outputs = run(files, r#", "expected_rows": {"interactions": 2, "users": 1, "items": 2}"#).unwrap();
        assert_eq!(outputs.interactions.item, [1, 0]);
        assert_eq!(outputs.items.title, ["American President, The (1995)", "A \"Z\""]);
        assert_eq!((&outputs.items.year, &outputs.items.genres[1]), (&vec![Some(1995), None], &vec![]));
        let error = run(files, r#", "expected_rows": {"interactions": 3}"#).err().unwrap().to_string();
        assert!(error.contains("has 2 interactions, but the experiment expects 3"), "{error}");
    }

    const FILMS: &[u8] = b"movieId,title,genres\n1,T (1995),Comedy\n2,\"U, The (1996)\",Drama\n";

    /// What every copy of the same two rows gives.
    fn are_the_rows(log: &[u8], films: &[u8]) {
        let outputs = run(&[("ratings.csv", log), ("movies.csv", films)], "").unwrap();
        let read = &outputs.interactions;
        assert_eq!(outputs.users.id, ["7", "8"], "{}", String::from_utf8_lossy(log));
        assert_eq!((&*read.user, &*read.item), (&[0, 1][..], &[1, 0][..]));
        assert_eq!((&*read.rating, &*read.timestamp), (&[3.5, 4.0][..], &[1_112_486_027, 5][..]));
        assert_eq!(outputs.items.title, ["T (1995)", "U, The (1996)"]);
        assert_eq!(
            (&*outputs.items.year, &*outputs.items.genres[0]),
            (&[Some(1995), Some(1996)][..], &["Comedy".to_owned()][..])
        );
    }

    #[test]
    fn a_header_decides_which_column_is_which() {
        for log in [
            "userId,movieId,rating,timestamp\n7,2,3.5,1112486027\n8,1,4,5\n",
            "movieId,userId,timestamp,rating\n2,7,1112486027,3.5\n1,8,5,4\n",
            "\u{feff}\"userId\",\"movieId\",\"rating\",\"timestamp\"\r\n\"7\",\"2\",\"3.5\",\"1112486027\"\r\n\"8\",\"1\",\"4\",\"5\"\r\n",
            ",user_id,movie_id,rating,timestamp\n0,7,2,3.5,1112486027\n1,8,1,4.0,5\n",
            "User ID,Item,Rating,Time,what\n7,2,3.5,1112486027,x\n8,1,4.0,5,\n",
            "userId,movieId,rating,timestamp\n7.0,2.0,3.5,1112486027.0\n8.0,1.0,4,5.0\n",
            "7,2,3.5,1112486027\n8,1,4,5\n",
        ] {
            are_the_rows(log.as_bytes(), FILMS);
        }
        let log = b"userId,movieId,rating,timestamp\n7,2,3.5,1112486027\n8,1,4,5\n";
        for films in [
            "genres,title,movieId\nComedy,T (1995),1\nDrama,\"U, The (1996)\",2\n",
            "\u{feff},movie_id,title,genre\n0,1,T (1995),['Comedy']\n1,2,\"U, The (1996)\",['Drama']\n",
            "movieId,title,genres\n1.0,T (1995),Comedy\n2.0,\"U, The (1996)\",Drama\n",
            "1,T (1995),Comedy\n2,\"U, The (1996)\",Drama\n",
        ] {
            are_the_rows(log, films.as_bytes());
        }
        let films: &[u8] = b"MovieID::Title::Genres\n1::A (1990)::Drama\n";
        let log: &[u8] = b"UserID::MovieID::Rating::Timestamp\n3::1::5::978300760\n";
        let colons = run(&[("ratings.dat", log), ("movies.dat", films)], "").unwrap();
        assert_eq!((colons.users.id, colons.items.id), (vec!["3".to_owned()], vec!["1".to_owned()]));
    }

    #[test]
    fn what_a_header_lacks_is_named_and_its_repetition_is_no_row() {
        let error = |log: &str| {
            format!("{:#}", run(&[("movies.csv", FILMS), ("ratings.csv", log.as_bytes())], "").err().unwrap())
        };
        let lacks = error("who,movieId,rating,timestamp\n7,2,3,4\n");
        assert!(lacks.contains("ratings.csv has no column `userId` or `user`; it has who, movieId, rating"), "{lacks}");
        let twice = error("userId,movieId,rating,rating\n7,2,3,4\n");
        assert!(twice.contains("has two columns `rating`: its 3rd and its 4th"), "{twice}");
        let again = error("userId,movieId\n7,2\nuserId,movieId\n8,1\n");
        assert!(again.contains("ratings.csv:3: found the header again, wanted a row"), "{again}");
        let latin = run(&[("movies.csv", b"movieId,title,genres\n1,Caf\xe9,X\n"), ("ratings.csv", b"")], "");
        let latin = latin.err().unwrap().to_string();
        assert!(latin.contains("movies.csv:2: the line is not UTF-8: \"1,Caf\u{fffd},X\""), "{latin}");
        let implicit = run(&[("movies.csv", FILMS), ("ratings.csv", b"userId,movieId\n7,2\n")], "").unwrap();
        assert_eq!((implicit.interactions.rating, implicit.interactions.timestamp), (vec![1.0], vec![0]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |files: &[(&str, &[u8])]| format!("{:#}", run(files, "").err().unwrap());
        assert!(error(&[]).contains("holds none of `u.data`, `ratings.dat`, `ratings.csv`"));
        let films: &[u8] = b"movieId,title,genres\n1,A (1990),Drama\n";
        let unknown = error(&[("movies.csv", films), ("ratings.csv", b"userId,movieId,rating,timestamp\n1,2,3,4\n")]);
        assert!(
            unknown.contains("ratings.csv:2: column `movieId`: found \"2\", wanted an id of the side table"),
            "{unknown}"
        );
        let short = error(&[("movies.csv", b"movieId,title,genres\n1,A\n"), ("ratings.csv", b"")]);
        assert!(short.contains("movies.csv:2: found 2 fields, wanted 3"), "{short}");
    }
}
