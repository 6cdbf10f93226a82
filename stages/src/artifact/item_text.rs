//! What to call items that have no titles: their features in words.

use super::Items;

/// Characters of one value: a description is read at every turn.
const LONGEST: usize = 60;

impl Items {
    /// What each item is called: its title, or else its description; empty where nothing is known of it.
    #[must_use]
    pub fn display_names(&self) -> Vec<String> {
        let bare = !self.has_titles();
        let name = |(item, title): (usize, &String)| match bare || title.trim().is_empty() {
            true => self.description(item).unwrap_or_else(|| title.clone()),
            false => title.clone(),
        };
        self.title.iter().enumerate().map(name).collect()
    }

    /// Whether any item has a title. Some catalogues repeat the ids as titles; one title that happens to be its id (`300`) is a
    /// title.
    #[must_use]
    pub fn has_titles(&self) -> bool {
        !self.title.iter().zip(&self.id).all(|(title, id)| title.trim().is_empty() || title == id)
    }

    /// The item in a few words from its genres and features: `women's parkas, red, onfrontpage`; `None` where nothing is
    /// known of it. Several items may have one description.
    ///
    /// Genres come first, with a feature `gender` before them; a `color` or `colour` speaks for itself; of a feature that is
    /// there or not only what is there is said, by its name; every other one as `name value`, by name.
    #[must_use]
    pub fn description(&self, item: usize) -> Option<String> {
        let features = || self.features.iter().map(|(name, values)| (name.as_str(), plain(&values[item])));
        let genres: Vec<String> =
            self.genres[item].iter().map(|genre| plain(genre)).filter(|g| !g.is_empty()).collect();
        let whose = features().find(|(name, value)| *name == "gender" && !value.is_empty()).map(|(_, value)| value);
        let first = match (whose, genres.join(", ")) {
            (None, genres) => genres,
            (Some(whose), genres) if genres.is_empty() => format!("for {whose}"),
            (Some(whose), genres) => format!("{whose}'s {genres}"),
        };
        let said = |(name, value): (&str, String)| match (name, value.as_str()) {
            ("gender", _) | (_, "" | "no" | "No" | "false" | "False" | "0") => None,
            // `other` alone could be the kind.
            ("color" | "colour", colour) if colour != "other" => Some(value),
            (_, "yes" | "Yes" | "true" | "True" | "1") => Some(plain(name)),
            _ => Some(format!("{} {value}", plain(name))),
        };
        let mut parts: Vec<String> = std::iter::once(first).chain(features().filter_map(said)).collect();
        parts.extend(self.year[item].map(|year| format!("of {year}")));
        parts.retain(|part| !part.is_empty());
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// In one line, and not too long.
fn plain(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn described(genres: &[&str], features: &[(&str, &str)], year: Option<i32>) -> Option<String> {
        let features = features.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
        let items = Items {
            id: vec!["7".into()],
            title: vec![String::new()],
            year: vec![year],
            genres: vec![genres.iter().map(|genre| (*genre).to_owned()).collect()],
            features: features.collect::<BTreeMap<_, _>>(),
        };
        items.description(0)
    }

    #[test]
    fn features_become_words() {
        let coat = [("color", "red"), ("gender", "women"), ("onfrontpage", "yes")];
        assert_eq!(described(&["parkas"], &coat, None).unwrap(), "women's parkas, red, onfrontpage");
        let coat = [("colour", "blue"), ("gender", "men"), ("onfrontpage", "no")];
        assert_eq!(described(&[], &coat, None).unwrap(), "for men, blue");
        assert_eq!(described(&["rain"], &[("color", "other")], None).unwrap(), "rain, color other");
        let film = [("director", "Michael\n Mann"), ("studio", "")];
        assert_eq!(
            described(&["Crime", "Drama"], &film, Some(1995)).unwrap(),
            "Crime, Drama, director Michael Mann, of 1995"
        );
        assert_eq!(described(&[], &[("studio", ""), ("new", "0")], None), None);
    }

    #[test]
    fn what_has_no_title_is_described() {
        let called = |titles: [&str; 3]| {
            let items = Items {
                id: ["1", "2", "3"].map(Into::into).to_vec(),
                title: titles.map(Into::into).to_vec(),
                year: vec![None; 3],
                genres: ["pea", "rain", ""].map(|genre| vec![genre.to_owned()]).to_vec(),
                ..Items::default()
            };
            items.display_names()
        };
        assert_eq!(called(["", "Mackintosh", " "]), ["pea", "Mackintosh", " "]);
        assert_eq!(called(["1", "2", "3"]), ["pea", "rain", "3"], "ids are no titles");
        assert_eq!(called(["1", "Heat", "Big"]), ["1", "Heat", "Big"]);
        let titled =
            |title: &str| Items { id: vec!["1".into()], title: vec![title.into()], ..Items::default() }.has_titles();
        assert_eq!(["1", " ", "Heat"].map(titled), [false, false, true]);
    }

    #[test]
    fn one_long_value_does_not_fill_the_prompt() {
        let long = described(&[], &[("about", &"ü".repeat(1000))], None).unwrap();
        assert_eq!(long.chars().count(), "about ".len() + LONGEST);
        assert!(long.ends_with('…'));
    }
}
