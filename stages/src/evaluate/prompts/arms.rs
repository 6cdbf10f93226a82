//! The prompts that are asked in every session.

use std::sync::Arc;

use anyhow::Result;
use pipeline::Context;

use super::settings::EvaluatePrompts;
use super::summary::ITEM_ONLY;
use crate::artifact::{Call, Hints, PromptSummary};
use crate::prompting::{ExampleSelector, HistoryOrder, LogRow, Select, Strategy, Teller, Window, WindowQuestions};
use crate::ratings::spearman;

/// One prompt.
pub(super) struct PromptArm {
    pub name: String,
    pub order: HistoryOrder,
    strategy: Strategy,
    added: Added,
}

/// What is told beside the history.
enum Added {
    Nothing,
    /// The examples of the selector with this number.
    Selected(usize),
    /// One example of the measured pool.
    Single(usize),
    /// A hint.
    Hint(String),
}

/// All prompts of a stage.
pub(super) struct Arms<'a> {
    pub arms: Vec<PromptArm>,
    pub selectors: Vec<ExampleSelector<'a>>,
    teller: &'a Teller<'a>,
}

impl<'a> Arms<'a> {
    /// Measures the examples, where effects select them.
    pub fn new(
        stage: &'a EvaluatePrompts,
        teller: &'a Teller<'a>,
        train: &'a [Vec<LogRow>],
        hints: Option<&Hints>,
        questions: &WindowQuestions,
    ) -> Result<Self> {
        let (plain, order) = (stage.strategies[0], HistoryOrder::Chronological);
        let arm = |name: String, strategy, order, added| PromptArm { name, order, strategy, added };
        let mut arms = vec![arm(ITEM_ONLY.to_owned(), Strategy::ItemOnly, order, Added::Nothing)];
        for &strategy in &stage.strategies {
            arms.push(arm(strategy.name().to_owned(), strategy, order, Added::Nothing));
            if strategy.tells_an_order() {
                arms.push(arm(strategy.name().to_owned(), strategy, HistoryOrder::Shuffled, Added::Nothing));
            }
        }
        let mut selectors = Vec::new();
        for settings in &stage.examples {
            let mut selector = ExampleSelector { settings, teller, train, seed: stage.seed, measured: None };
            selector.measure(plain, questions)?;
            let name = format!("{} + {} examples", plain.name(), settings.select.name());
            arms.push(arm(name, plain, order, Added::Selected(selectors.len())));
            selectors.push(selector);
        }
        for hint in hints.iter().flat_map(|hints| hints.kept()) {
            arms.push(arm(hint.prompt(plain.name()), plain, order, Added::Hint(hint.text.clone())));
        }
        let mut all = Self { arms, selectors, teller };
        if stage.each_example {
            let pool = all.measured().map_or(0, |(_, measured)| measured.pool.len());
            all.arms.extend((0..pool).map(|place| arm(single(plain, place), plain, order, Added::Single(place))));
        }
        Ok(all)
    }

    /// The context of a question.
    pub fn context(&self, arm: &PromptArm, window: &Window) -> Result<Vec<String>> {
        let examples = match &arm.added {
            Added::Nothing | Added::Hint(_) => vec![],
            Added::Selected(at) => self.selectors[*at].lines(window.user, &window.history, arm.order)?,
            Added::Single(place) => match self.measured() {
                Some((selector, measured)) => selector.told(&measured.pool[*place..=*place], window.user)?,
                None => vec![],
            },
        };
        let mut context = self.teller.prefix(arm.strategy, window.user, &window.history, arm.order, &examples)?;
        if let Added::Hint(hint) = &arm.added {
            context.push(self.teller.prompt.hint_line(hint)?);
        }
        Ok(context)
    }

    /// The calls that measured the examples.
    pub fn calls(&self) -> impl Iterator<Item = &Arc<Call>> {
        self.selectors.iter().filter_map(|selector| selector.measured.as_ref()).flat_map(|measured| &measured.calls)
    }

    fn measured(&self) -> Option<(&ExampleSelector<'a>, &crate::prompting::Measured)> {
        self.selectors
            .iter()
            .find(|selector| selector.settings.select == Select::Effect)
            .and_then(|selector| Some((selector, selector.measured.as_ref()?)))
    }

    /// Notes whether an example does in these sessions what it did where it was measured.
    pub fn note_correlation(&self, summary: &PromptSummary, cx: &Context) {
        let Some((_, measured)) = self.measured() else { return };
        let Some(plain) = self.arms.get(1).map(|arm| arm.strategy) else { return };
        let here = |place| {
            let found = summary.find(&single(plain, place), HistoryOrder::Chronological.name(), "score_over_plain");
            Some((measured.alone[place], found?.value))
        };
        let (there, here): (Vec<f64>, Vec<f64>) = (0..measured.pool.len()).filter_map(here).unzip();
        let (correlation, count) = (spearman(&there, &here), there.len());
        cx.note(
            "effects of single examples",
            format!(
                "Spearman {correlation:.2} between the windows of the training log and the sessions, {count} examples"
            ),
        );
    }
}

fn single(plain: Strategy, place: usize) -> String {
    format!("{} + example {place}", plain.name())
}
