//! The template of an item's text.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use minijinja::{Environment, Value, context};

use crate::artifact::Items;

/// Maximum steps of one rendering, as for the templates of prompts.
const FUEL: u64 = 20_000;
const NAME: &str = "template";

/// By default.
pub(super) fn default_template() -> String {
    r#"{{ name }}{% if title and year %} ({{ year }}){% endif %}{% if title and genres %}: {{ genres | join(", ") }}{% endif %}"#.into()
}

/// What a template may name.
const VARIABLES: [&str; 5] = ["features", "genres", "name", "title", "year"];

/// A template that renders.
pub(super) struct ItemTemplate(Environment<'static>);

impl ItemTemplate {
    /// Parses the template, and renders it for an item of which all is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(template: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        let wrong = |error: minijinja::Error| format!("{error:#}");
        environment.add_template_owned(NAME, template.to_owned()).map_err(wrong)?;
        let ours = Self(environment);
        let known = |name: &str| VARIABLES.contains(&name) || ours.0.globals().any(|(global, _)| global == name);
        if let Some(name) = ours.names(false).into_iter().find(|name| !known(name)) {
            return Err(format!("a template of {}; there is no variable `{name}`", VARIABLES.join(", ")));
        }
        let features = BTreeMap::from([("colour", "red")]);
        let text =
            ours.render(&context! { name => "Heat", title => "Heat", year => 1995, genres => ["Crime"], features });
        // The features of the catalogue are known when the stage runs.
        if text.map_err(wrong)?.is_empty() && !ours.names(false).contains("features") {
            return Err("a text of an item, such as `{{ name }}`; this one is empty for every item".into());
        }
        Ok(ours)
    }

    /// The variables of the template, by name; `nested` as they are written (`features.colour`).
    fn names(&self, nested: bool) -> BTreeSet<String> {
        let template = self.0.get_template(NAME).ok();
        template.map_or_else(BTreeSet::new, |template| template.undeclared_variables(nested).into_iter().collect())
    }

    fn render(&self, item: &Value) -> Result<String, minijinja::Error> {
        let text = self.0.get_template(NAME)?.render(item)?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The text of each item, on one line.
    ///
    /// # Errors
    /// Where the template names a feature that the catalogue does not have, or cannot be rendered for an item.
    pub(super) fn texts(&self, items: &Items) -> Result<Vec<String>> {
        let known = || items.features.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        for name in self.names(true) {
            let feature = name.strip_prefix("features.").map(|rest| rest.split('.').next().unwrap_or(rest));
            let Some(feature) = feature.filter(|&feature| !items.features.contains_key(feature)) else { continue };
            bail!("`template` names the feature `{feature}`, which no item has\nhelp: the catalogue has: {}", known());
        }
        let text = |(item, name): (usize, String)| {
            let title = if name == items.title[item] { name.clone() } else { String::new() };
            let features: BTreeMap<String, String> =
                items.features.iter().map(|(name, values)| (name.clone(), values[item].clone())).collect();
            let (year, genres) = (items.year[item], &items.genres[item]);
            let variables = context! { name, title, year, genres, features };
            self.render(&variables).with_context(|| format!("the text of item {:?}", items.id[item]))
        };
        items.display_names().into_iter().enumerate().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Items {
        Items {
            id: ["7", "8", "9"].map(String::from).to_vec(),
            title: ["Heat", "Fargo", ""].map(String::from).to_vec(),
            year: vec![Some(1995), None, Some(2001)],
            genres: vec![vec!["Action".into(), "Crime".into()], vec![], vec!["parkas".into()]],
            features: BTreeMap::from([("colour".to_owned(), ["", "white", "red"].map(String::from).to_vec())]),
        }
    }

    #[test]
    fn a_text_is_what_is_known_of_the_item() {
        let texts = |template: &str| ItemTemplate::new(template).unwrap().texts(&items()).unwrap();
        assert_eq!(texts(&default_template()), ["Heat (1995): Action, Crime", "Fargo", "parkas, red, of 2001"]);
        assert_eq!(texts("{{ title }}\n  {{ features.colour }} "), ["Heat", "Fargo white", "red"]);
    }

    #[test]
    fn what_does_not_render_is_told() {
        let error = |template: &str| ItemTemplate::new(template).err().unwrap();
        assert_eq!(
            error("{{ titel }}"),
            "a template of features, genres, name, title, year; there is no variable `titel`"
        );
        assert!(error("{{ title").contains("unexpected end"), "{}", error("{{ title"));
        assert!(error(" ").contains("this one is empty for every item"));
        let endless = error("{% for k in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}");
        assert!(endless.contains("fuel"), "{endless}");
        let error = ItemTemplate::new("{{ features.color }}").unwrap().texts(&items()).unwrap_err().to_string();
        assert_eq!(error, "`template` names the feature `color`, which no item has\nhelp: the catalogue has: colour");
    }
}
