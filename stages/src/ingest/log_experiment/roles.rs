//! Which column of a log holds its users, items, ratings and times: by what the user says, by the names of the columns, by their content.

use anyhow::{Result, bail, ensure};

use super::column::Column;
use super::role_names::{AMOUNT, ITEM, RATING, TIME, USER, fit, fit_of_value, is_amount, words};
use super::unread::{UNREAD_RATING, UNREAD_TIME, refuse_commas, refuse_unread};

/// A column that was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Its position.
    pub at: usize,
    /// The reason, as `by its name`.
    pub why: &'static str,
}

/// The columns of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Roles {
    pub user: Choice,
    pub item: Choice,
    /// A rating, or an amount.
    pub rating: Option<Choice>,
    pub time: Option<Choice>,
}

impl Roles {
    /// The positions of the columns that have a role.
    pub fn used(&self) -> impl Iterator<Item = usize> {
        [Some(&self.user), Some(&self.item), self.rating.as_ref(), self.time.as_ref()]
            .into_iter()
            .flatten()
            .map(|of| of.at)
    }
}

const BY_NAME: &str = "by its name";
const BY_CONTENT: &str = "by its content";
const BY_CONTENT_ONLY: &str = "by its content, not by its name: check it";
const BY_AGGREGATE: &str = "by its name, which is that of a mean or a count: check it";
const BY_ORDER: &str = "by its place among the columns of ids: check it";
const BY_AMAZON: &str = "as Amazon's ids of users begin with A: check it";
const SAID: &str = "as you say";

impl Choice {
    /// Whether the user named it.
    pub fn is_said(&self) -> bool {
        self.why == SAID
    }

    /// Whether people have to look at it.
    pub fn is_doubtful(&self) -> bool {
        self.why.ends_with("check it")
    }
}

/// Whether a name says what others rated, or how many did.
fn is_aggregate(name: &str) -> bool {
    const OF_OTHERS: [&str; 9] =
        ["avg", "average", "mean", "median", "predicted", "expected", "count", "num", "number"];
    words(name).iter().any(|word| OF_OTHERS.contains(&&**word))
}

/// The free column that fits best by name among those that content allows.
fn by_name(columns: &[Column], taken: &[usize], known: &[&str], fits: impl Fn(&Column) -> bool) -> Option<Choice> {
    let free = columns.iter().enumerate().filter(|(at, column)| !taken.contains(at) && fits(column));
    let fitting = free.filter_map(|(at, column)| Some((fit(&column.name, known)?, std::cmp::Reverse(at))));
    fitting.max().map(|(_, std::cmp::Reverse(at))| Choice { at, why: BY_NAME })
}

/// The roles of the columns; `said` are those that the user names, by role.
///
/// # Errors
/// Where a named column does not exist or is named twice, or none may hold the users or the items: with what each column holds.
pub(super) fn roles(columns: &[Column], has_names: bool, said: &[(String, String)]) -> Result<Roles> {
    for (at, (role, name)) in said.iter().enumerate() {
        if let Some((other, _)) =
            said[..at].iter().find(|(other, known)| other == role || known == name && !name.is_empty())
        {
            let [first, second] = [other, role].map(|role| format!("`{role}=`"));
            bail!(
                "`--columns` names a role or a column twice, in {first} and {second}\nhelp: name one column for each role"
            );
        }
    }
    let mut taken: Vec<usize> = Vec::new();
    let named = |role: &str| -> Result<Option<Option<Choice>>> {
        let Some((_, name)) = said.iter().find(|(said, _)| said == role) else { return Ok(None) };
        if name.is_empty() {
            return Ok(Some(None));
        }
        let at = columns.iter().position(|column| column.name == *name);
        ensure!(
            at.is_some(),
            "there is no column `{name}`; the columns are {}\nhelp: correct `--columns {role}=`",
            list(columns)
        );
        Ok(at.map(|at| Some(Choice { at, why: SAID })))
    };
    let [user, item, rating, time] = [named("user")?, named("item")?, named("rating")?, named("timestamp")?];
    taken.extend([&user, &item, &rating, &time].into_iter().flatten().flatten().map(|choice| choice.at));
    let take = |found: Option<Choice>, taken: &mut Vec<usize>| {
        taken.extend(found.iter().map(|choice| choice.at));
        found
    };
    let id = |column: &Column| column.may_be_ids();
    let user = match user.flatten() {
        Some(said) => Some(said),
        None => take(by_name(columns, &taken, USER, id), &mut taken),
    };
    let item = match item.flatten() {
        Some(said) => Some(said),
        None => take(by_name(columns, &taken, ITEM, id), &mut taken),
    };
    let first = |taken: &[usize], fits: &dyn Fn(&Column) -> bool, why| {
        let at = (0..columns.len()).find(|at| !taken.contains(at) && fits(&columns[*at]))?;
        Some(Choice { at, why })
    };
    let time = match time {
        Some(said) => said,
        None => {
            let called = |column: &Column| fit_of_value(&column.name, TIME).is_some();
            let is_free = |column: &Column| [USER, ITEM].iter().all(|known| fit(&column.name, known).is_none());
            // Times come before numbers that may be positions; an id of an order is neither.
            let found = by_name(columns, &taken, TIME, |column| column.holds_times() && called(column))
                .or_else(|| first(&taken, &|column| column.holds_times() && is_free(column), BY_CONTENT))
                .or_else(|| by_name(columns, &taken, TIME, |column| column.holds_integers() && called(column)));
            if found.is_none() {
                refuse_unread(columns, &taken, TIME, "timestamp", UNREAD_TIME)?;
            }
            take(found, &mut taken)
        }
    };
    let rating = match rating {
        Some(said) => {
            if let Some(choice) = &said {
                refuse_commas(columns, &taken, Some(choice.at))?;
            }
            said
        }
        None => {
            let rates = |column: &Column| column.holds_numbers() && fit_of_value(&column.name, RATING).is_some();
            let counts = |column: &Column| column.holds_numbers() && fit_of_value(&column.name, AMOUNT).is_some();
            let own = |column: &Column| rates(column) && column.distinct > 1 && !is_aggregate(&column.name);
            let others = |column: &Column| rates(column) && is_aggregate(&column.name) && !is_amount(&column.name);
            let named = by_name(columns, &taken, RATING, own)
                .or_else(|| by_name(columns, &taken, AMOUNT, counts))
                .or_else(|| by_name(columns, &taken, RATING, |column| rates(column) && !is_aggregate(&column.name)))
                .or_else(|| {
                    by_name(columns, &taken, RATING, others).map(|choice| Choice { why: BY_AGGREGATE, ..choice })
                });
            // Of columns that nobody named, one may be a rating only where two others are left for the ids.
            let has_ids = user.is_some() && item.is_some() || columns.len() - taken.len() > 2;
            // Where the columns have names, a scale of another name is an age or an hour; not where all names are strange.
            let is_read = has_ids && (!has_names || user.is_none() && item.is_none());
            let why = if has_names { BY_CONTENT_ONLY } else { BY_CONTENT };
            // Few users have few ids, which look like a scale, too: ratings have the fewest values.
            let scales = (0..columns.len()).filter(|at| !taken.contains(at) && columns[*at].is_scale());
            let fewest = scales.min_by_key(|at| (columns[*at].distinct, *at)).map(|at| Choice { at, why });
            let found = named.or_else(|| fewest.filter(|_| is_read));
            refuse_commas(columns, &taken, found.as_ref().map(|choice| choice.at))?;
            if found.is_none() {
                refuse_unread(columns, &taken, RATING, "rating", UNREAD_RATING)?;
            }
            take(found, &mut taken)
        }
    };
    let user = user.or_else(|| take(first(&taken, &id, BY_ORDER), &mut taken));
    let item = item.or_else(|| take(first(&taken, &id, BY_ORDER), &mut taken));
    // Its release of 2018 has items first.
    let is_amazons = |choice: &Choice| {
        let mut ids = columns[choice.at].examples.iter();
        !columns[choice.at].examples.is_empty() && ids.all(|id| id.starts_with('A') && id.len() >= 12)
    };
    let (user, item) = match (user, item) {
        (Some(first), Some(second))
            if [&first, &second].iter().all(|choice| choice.why == BY_ORDER)
                && is_amazons(&second)
                && !is_amazons(&first) =>
        {
            (Some(Choice { why: BY_AMAZON, ..second }), Some(Choice { why: BY_AMAZON, ..first }))
        }
        others => others,
    };
    let (Some(user), Some(item)) = (user, item) else {
        bail!(
            "no two columns can be told to hold the ids of users and of items; the columns are {}\nhelp: name them with `--columns \
             user=COLUMN,item=COLUMN`",
            list(columns)
        );
    };
    Ok(Roles { user, item, rating, time })
}

fn list(columns: &[Column]) -> String {
    let said: Vec<String> = columns.iter().map(|column| format!("`{}` ({})", column.name, column.words())).collect();
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(table: &[(&str, &[&str])]) -> Vec<Column> {
        table.iter().map(|(name, values)| Column::new(name, values, false)).collect()
    }

    fn found(table: &[(&str, &[&str])]) -> Vec<Option<String>> {
        let columns = columns(table);
        let roles = roles(&columns, !table[0].0.starts_with("column_"), &[]).unwrap();
        [Some(roles.user), Some(roles.item), roles.rating, roles.time]
            .map(|choice| choice.map(|choice| columns[choice.at].name.clone()))
            .to_vec()
    }

    const IDS: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8"];
    const STARS: &[&str] = &["1", "2", "3", "1", "2", "3", "3", "3"];
    const TIMES: &[&str] = &["1609459200", "1609459201", "1609459202"];

    #[test]
    fn columns_are_known_by_name_and_by_content() {
        let names = |user: &str, item: &str, rating: &str, time: &str| {
            [user, item, rating, time].map(|name| (!name.is_empty()).then(|| name.to_owned())).to_vec()
        };
        for (table, wanted) in [
            (
                vec![("userId", IDS), ("movieId", IDS), ("rating", STARS), ("timestamp", TIMES)],
                ["userId", "movieId", "rating", "timestamp"],
            ),
            (
                vec![("product_id", IDS), ("customer_unique_id", IDS), ("review_score", STARS)],
                ["customer_unique_id", "product_id", "review_score", ""],
            ),
            (
                vec![("reviewerID", IDS), ("asin", IDS), ("overall", STARS), ("unixReviewTime", TIMES)],
                ["reviewerID", "asin", "overall", "unixReviewTime"],
            ),
            (vec![("user", IDS), ("item", IDS), ("minutes", &["0", "4116", "5"])], ["user", "item", "minutes", ""]),
            (vec![("user", IDS), ("item", IDS), ("position", IDS)], ["user", "item", "", "position"]),
            (
                vec![("column_1", IDS), ("column_2", IDS), ("column_3", STARS), ("column_4", TIMES)],
                ["column_1", "column_2", "column_3", "column_4"],
            ),
            (vec![("column_1", IDS), ("column_2", STARS)], ["column_1", "column_2", "", ""]),
            (vec![("user", IDS), ("item", IDS), ("age", STARS)], ["user", "item", "", ""]),
            (vec![("a", IDS), ("b", IDS), ("c", STARS)], ["a", "b", "c", ""]),
            (vec![("user", IDS), ("song", IDS), ("listen_count", STARS)], ["user", "song", "listen_count", ""]),
            (
                vec![("user", IDS), ("item", IDS), ("avg_rating", STARS), ("rating_count", IDS), ("my_stars", STARS)],
                ["user", "item", "my_stars", ""],
            ),
            (
                vec![("user", IDS), ("item", IDS), ("rating", &["4", "4"]), ("stars", STARS)],
                ["user", "item", "stars", ""],
            ),
            (
                vec![("order_id", IDS), ("user", IDS), ("item", IDS), ("order_date", &["2021-01-01", "2021-01-02"])],
                ["user", "item", "", "order_date"],
            ),
            (vec![("orderid", IDS), ("user", IDS), ("item", IDS), ("click_id", STARS)], ["user", "item", "", ""]),
            (
                vec![("user", IDS), ("item", IDS), ("position", IDS), ("event_timestamp", TIMES)],
                ["user", "item", "", "event_timestamp"],
            ),
            (
                vec![("", IDS), ("who", IDS), ("title", &["Heat", "Alien"]), ("at", &["2021-01-01"])],
                ["who", "title", "", "at"],
            ),
        ] {
            assert_eq!(found(&table), names(wanted[0], wanted[1], wanted[2], wanted[3]), "{table:?}");
        }
    }

    #[test]
    fn doubtful_choices_and_amounts_are_known() {
        let rating = |table: &[(&str, &[&str])]| roles(&columns(table), true, &[]).unwrap().rating.unwrap();
        assert!(rating(&[("a", IDS), ("b", IDS), ("c", STARS)]).is_doubtful());
        assert!(rating(&[("user", IDS), ("item", IDS), ("avg_rating", STARS)]).is_doubtful());
        assert!(!rating(&[("user", IDS), ("item", IDS), ("rating", STARS)]).is_doubtful());
        for name in ["plays", "num_plays", "listen_count", "minutesWatched", "watch_ratio"] {
            assert!(is_amount(name), "{name}");
        }
        for name in ["rating", "rating_count", "stars", "count_id", "c"] {
            assert!(!is_amount(name), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_asked_for() {
        let table = columns(&[("x", TIMES), ("y", IDS)]);
        let error = roles(&table, true, &[]).unwrap_err().to_string();
        assert!(error.contains("`x` (times), `y` (integers)") && error.contains("--columns user=COLUMN"), "{error}");
        let table = columns(&[("a", IDS), ("b", IDS), ("c", STARS)]);
        let said =
            [("user", "b"), ("item", "a"), ("rating", "")].map(|(role, name)| (role.to_owned(), name.to_owned()));
        let roles_said = roles(&table, true, &said).unwrap();
        assert_eq!((roles_said.user.at, roles_said.item.at, roles_said.rating), (1, 0, None));
        let error = roles(&table, true, &[("user".into(), "z".into())]).unwrap_err().to_string();
        assert!(error.contains("there is no column `z`; the columns are `a`"), "{error}");
        for twice in [[("user", "a"), ("item", "a")], [("user", "a"), ("user", "b")]] {
            let twice = twice.map(|(role, name)| (role.to_owned(), name.to_owned()));
            let error = roles(&table, true, &twice).unwrap_err().to_string();
            assert!(error.contains("twice, in `user=`") && error.contains("\nhelp: "), "{error}");
        }
        let none = [("rating", ""), ("timestamp", "")].map(|(role, name)| (role.to_owned(), name.to_owned()));
        assert!(roles(&table, true, &none).is_ok());
    }
}
