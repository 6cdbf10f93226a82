//! The template of an item's text.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value, context};

use crate::artifact::Items;
use crate::llm::template;

const NAME: &str = "template";

/// By default.
pub(super) fn default_template() -> String {
    r#"{{ name }}{% if title and year %} ({{ year }}){% endif %}{% if title and genres %}: {{ genres | join(", ") }}{% endif %}"#.into()
}

/// Features as a check sees them: the catalogue's are known when the stage runs, so here each has a value.
#[derive(Debug)]
struct AnyFeature;

impl Object for AnyFeature {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from("red"))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["colour"])
    }
}

/// A template that renders.
pub(super) struct ItemTemplate(Environment<'static>);

impl ItemTemplate {
    /// Parses the template, and renders it for an item of which all is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        template::check_alone(NAME, text)?;
        let mut environment = template::environment();
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| format!("{error:#}"))?;
        let features = Value::from_object(AnyFeature);
        let known = context! { features, genres => ["Crime"], name => "Heat", title => "Heat", year => 1995 };
        template::check(&environment, NAME, text, &[known])?;
        Ok(Self(environment))
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
        let mut names: Vec<String> = self.0.get_template(NAME)?.undeclared_variables(true).into_iter().collect();
        names.sort();
        for name in names {
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
            error("{{ name }}\n{{ titel }}"),
            "`titel` is not a variable of this template; its variables are `features`, `genres`, `name`, `title`, `year`\n  \
             line 2 of the template: {{ titel }}\n                             ^^^^^"
        );
        assert!(error("{{ title").contains("unexpected end"), "{}", error("{{ title"));
        assert_eq!(error(" "), "it renders to an empty text");
        let endless = error("{% for k in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}");
        assert!(endless.contains("fuel"), "{endless}");
        let error = ItemTemplate::new("{{ features.color }}").unwrap().texts(&items()).unwrap_err().to_string();
        assert_eq!(error, "`template` names the feature `color`, which no item has\nhelp: the catalogue has: colour");
    }
}
