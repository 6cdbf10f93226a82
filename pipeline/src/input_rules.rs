//! What a stage says of its inputs beyond their types; the engine refuses an experiment that breaks a rule before anything runs.

/// What comes into one input of a stage must not have been made with what comes into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLeakage {
    /// The input whose artifacts stay out of sight (`world`, where policies are evaluated).
    pub port: &'static str,
    /// The input whose artifacts must not descend from those.
    pub from: &'static str,
    /// Input ports, of any stage, through which they may after all (`distances`).
    pub except: &'static [&'static str],
    /// Input ports, of any stage, one of which the way must take to count (`model`); any way counts where there are none.
    pub through: &'static [&'static str],
    /// The kind of artifact of which `port` holds a part: what it was drawn from is out of sight too, except through the stages
    /// that drew it, for what they kept back they kept back from the other parts. None where it is no part of anything.
    pub drawn_from: Option<&'static str>,
    /// Why, as the end of a message.
    pub why: &'static str,
    /// What to do instead.
    pub help: &'static str,
}

/// An input that takes no artifact of one kind of stage, although its type would fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForbiddenSource {
    /// The input.
    pub port: &'static str,
    /// The kind of stage whose output has no place there (`world.pessimistic`).
    pub made_by: &'static str,
    /// Why, as the end of a message.
    pub why: &'static str,
    /// What to do instead.
    pub help: &'static str,
}

/// A setting that wants an input connected, or that has no place beside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The setting, as a path below `with` (`simulator.quit_similarity`).
    pub setting: &'static str,
    /// The optional input.
    pub port: &'static str,
    /// Whether it must be connected; else it must not be.
    pub connected: bool,
    /// Why, as the end of a message.
    pub why: String,
    /// What to do.
    pub help: &'static str,
}
