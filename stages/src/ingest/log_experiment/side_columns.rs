//! Which column of a catalogue, or of a table of users, holds what.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail};
use pipeline::{AssetName, Context};

use super::column::Column;
use super::role_names::normalised;
use super::sampled_table::{Form, SampledTable};
use super::table_settings::{columns_of, file_name, separator_of};
use crate::ingest::datasets::table::{GenreColumn, ItemColumns, UserColumns};

const TITLE: &[&str] = &[
    "title",
    "movietitle",
    "producttitle",
    "name",
    "movie",
    "itemname",
    "appname",
    "primarytitle",
    "product",
    "headline",
];
const YEAR: &[&str] = &["year", "releaseyear", "published", "publicationyear", "yearofpublication"];
const GENRES: &[&str] =
    &["genres", "genre", "categories", "category", "tags", "class", "types", "type", "topics", "subjects"];

/// The columns of a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ItemRoles {
    pub id: usize,
    /// The share of the log's ids that the column of ids holds.
    pub covered: f64,
    pub title: Option<usize>,
    pub year: Option<usize>,
    /// The column of genres, and their separator where they are no list.
    pub genres: Option<(usize, Option<&'static str>)>,
}

/// An id as both tables write it: pandas writes integers as floats where one is missing.
fn plain(id: &str) -> &str {
    id.trim().strip_suffix(".0").unwrap_or(id.trim())
}

/// The column that holds the ids which the log has, and the share of its sampled values that the log knows.
///
/// # Errors
/// Where no column holds any of them.
pub(super) fn id_column(table: &SampledTable, ids: &HashSet<&str>, of: &str) -> Result<(usize, f64)> {
    let share = |at: usize| {
        let values: HashSet<&str> = table.rows.iter().map(|row| plain(&row[at])).filter(|id| !id.is_empty()).collect();
        let known = values.iter().filter(|id| ids.contains(**id)).count();
        // A sample holds some of the ids only, and a catalogue more than the log.
        (known as f64 / values.len().min(ids.len()).max(1) as f64, values.len() == table.rows.len())
    };
    let found =
        (0..table.names.len()).map(|at| (share(at), at)).max_by(|((a, a_unique), a_at), ((b, b_unique), b_at)| {
            a_unique.cmp(b_unique).then(a.total_cmp(b)).then(b_at.cmp(a_at))
        });
    match found {
        Some(((share, _), at)) if share > 0.0 => Ok((at, share)),
        _ if let Some(at) = repeated(table, ids) => bail!(
            "column `{}` of the table of {of} holds ids of the log, and {:?} several times\nhelp: keep one row of each id",
            table.names[at.0],
            at.1
        ),
        _ => bail!(
            "no column of the table of {of} holds ids of the log, as {:?}; its columns are {}\nhelp: {}",
            ids.iter().min().unwrap_or(&""),
            columns_with_examples(table),
            match (0..table.names.len()).find(|at| differs_by_zeros(table, *at, ids)) {
                Some(at) => format!(
                    "`{}` differs from the log by zeros in front: write the ids alike in both files",
                    table.names[at]
                ),
                None => "check that it is the table of this log, and that both write ids alike".to_owned(),
            }
        ),
    }
}

/// The column that holds ids of the log in most rows, and an id that it holds twice.
fn repeated<'t>(table: &'t SampledTable, ids: &HashSet<&str>) -> Option<(usize, &'t str)> {
    (0..table.names.len()).find_map(|at| {
        let values = || table.rows.iter().map(|row| plain(&row[at])).filter(|id| ids.contains(id));
        let mut seen = HashSet::new();
        let twice = values().find(|id| !seen.insert(*id))?;
        (2 * values().count() > table.rows.len()).then_some((at, twice))
    })
}

/// The columns of a table, each with its first value.
fn columns_with_examples(table: &SampledTable) -> String {
    let of = |(at, name): (usize, &String)| {
        let value = table.rows.iter().map(|row| plain(&row[at])).find(|value| !value.is_empty()).unwrap_or_default();
        format!("`{name}` ({:?})", value.chars().take(20).collect::<String>())
    };
    table.names.iter().enumerate().map(of).collect::<Vec<_>>().join(", ")
}

/// Whether most values of a column are ids of the log but for zeros in front.
fn differs_by_zeros(table: &SampledTable, at: usize, ids: &HashSet<&str>) -> bool {
    let bare = |id: &str| id.trim_start_matches('0').to_owned();
    let known: HashSet<String> = ids.iter().map(|id| bare(id)).collect();
    let found = table.rows.iter().filter(|row| known.contains(&bare(plain(&row[at])))).count();
    2 * found > table.rows.len()
}

impl ItemRoles {
    pub fn new(table: &SampledTable, ids: &HashSet<&str>) -> Result<Self> {
        let (id, covered) = id_column(table, ids, "items")?;
        let columns = columns_of(table);
        let named = |known: &[&str], fits: &dyn Fn(&Column) -> bool| {
            let place = |column: &Column| known.iter().position(|name| *name == normalised(&column.name));
            let free = columns.iter().enumerate().filter(|(at, column)| *at != id && fits(column));
            free.filter_map(|(at, column)| Some((place(column)?, at))).min().map(|(_, at)| at)
        };
        let title = named(TITLE, &|column| !column.holds_numbers());
        let year = named(YEAR, &|column| column.holds_integers() && column.max < 3000.0);
        let genres = named(GENRES, &|column| {
            !column.holds_numbers() && column.distinct > 1 && Some(&column.name) != title.map(|at| &table.names[at])
        });
        let genres = genres.map(|at| (at, if columns[at].lists > 0 { None } else { Some(genre_separator(table, at)) }));
        Ok(Self { id, covered, title, year, genres })
    }
}

/// The catalogue at that path, as `ingest.table` reads it beside a log with these ids.
pub(super) fn items(path: &Path, ids: &[String], cx: &Context) -> Result<(SampledTable, ItemColumns)> {
    let table = SampledTable::read(path, cx)?;
    let ids: HashSet<&str> = ids.iter().map(|id| plain(id)).collect();
    let roles = ItemRoles::new(&table, &ids).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let name = |at: usize| table.names[at].clone();
    let genres = roles
        .genres
        .map(|(at, separator)| GenreColumn { column: name(at), separator: separator.unwrap_or("|").to_owned() });
    let columns = ItemColumns {
        asset: Some(AssetName("items".into())),
        file: file_name(path),
        names: names_of(&table),
        separator: separator_of(&table, path),
        id: name(roles.id),
        title: roles.title.map(name),
        year: roles.year.map(name),
        genres,
        features: Vec::new(),
    };
    Ok((table, columns))
}

/// The table of users at that path, as `ingest.table` reads it beside a log with these ids.
pub(super) fn users(path: &Path, ids: &[String], cx: &Context) -> Result<(SampledTable, UserColumns)> {
    let table = SampledTable::read(path, cx)?;
    let ids: HashSet<&str> = ids.iter().map(|id| plain(id)).collect();
    let (id, _) = id_column(&table, &ids, "users").map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let columns = UserColumns {
        asset: Some(AssetName("users".into())),
        file: file_name(path),
        names: names_of(&table),
        separator: separator_of(&table, path),
        id: table.names[id].clone(),
    };
    Ok((table, columns))
}

/// The names of the columns, where the file has none.
fn names_of(table: &SampledTable) -> Option<Vec<String>> {
    matches!(table.form, Form::Text { header: false, .. }).then(|| table.names.clone())
}

/// What most often stands between the genres.
fn genre_separator(table: &SampledTable, at: usize) -> &'static str {
    // Of RecBole, whose lists are separated by spaces.
    if table.names[at].ends_with(":token_seq") {
        return " ";
    }
    let count = |separator: &str| table.rows.iter().filter(|row| row[at].contains(separator)).count();
    let found = ["|", ";", ",", "/"].into_iter().rev().max_by_key(|separator| count(separator));
    found.filter(|separator| count(separator) > 0).unwrap_or("|")
}

#[cfg(test)]
mod tests {
    use super::super::sampled_table::Form;
    use super::*;

    fn table(text: &str) -> SampledTable {
        let mut rows: Vec<Vec<String>> =
            text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        let names = rows.remove(0);
        let typed_times = vec![false; names.len()];
        SampledTable { form: Form::Records, names, rows, typed_times, packed: false, padded_names: false }
    }

    #[test]
    fn the_ids_of_the_log_find_their_column() {
        let items = table(
            "row,movie_id,name,category,year\n0,7.0,Heat,Crime|Drama,1995\n1,9.0,Alien,Horror,1979\n2,3.0,Up,Family,2009\n",
        );
        let ids: HashSet<&str> = ["7", "9", "3", "x"].into();
        let roles = ItemRoles::new(&items, &ids).unwrap();
        assert_eq!((roles.id, roles.title, roles.year, roles.genres), (1, Some(2), Some(4), Some((3, Some("|")))));
        assert_eq!(roles.covered, 1.0);
        let strange = ["a", "b"].into();
        let error = ItemRoles::new(&items, &strange).unwrap_err().to_string();
        assert!(
            error.contains(
                "holds ids of the log, as \"a\"; its columns are `row` (\"0\"), `movie_id` (\"7\"), `name` (\"Heat\")"
            ) && error.contains("check that it is the table of this log"),
            "{error}"
        );
        let atomic = table(
            "item_id:token,movie_title:token_seq,class:token_seq,release_year:token\n7,Heat,Crime Drama,1995\n9,Up,Family,2009\n",
        );
        let roles = ItemRoles::new(&atomic, &ids).unwrap();
        assert_eq!((roles.id, roles.title, roles.year, roles.genres), (0, Some(1), Some(3), Some((2, Some(" ")))));
        let zeros = ItemRoles::new(&table("item,title\n0007,Heat\n0009,Alien\n"), &ids).unwrap_err().to_string();
        assert!(zeros.contains("\nhelp: `item` differs from the log by zeros in front"), "{zeros}");
        let lists = table("i,tags\na,['x']\nb,[]\n");
        assert_eq!(ItemRoles::new(&lists, &strange).unwrap().genres, Some((1, None)));
    }
}
