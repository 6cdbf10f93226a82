//! The program as its users meet it: the real binary on small projects.

mod assets;
#[path = "../stages/src/llm/openai/batch_server.rs"]
mod batch_server;
mod batches;
mod control;
mod csv;
mod docs;
mod embed;
mod hints;
mod ids;
mod inspect;
mod layout;
mod looking;
mod memory;
mod mistakes;
#[path = "../stages/src/llm/openai/mock_server.rs"]
mod mock_server;
mod names;
mod off_policy;
mod parts;
mod preferences;
mod project;
mod prompting;
mod published;
mod python;
mod ranking;
mod rate;
mod recommend;
mod recycle;
mod renamed;
mod report;
mod resume;
mod schema;
mod search;
mod server;
mod smoke;
mod snapshots;
mod source;
mod texts;
mod transcripts;
mod versions;
mod warm_start;
mod wire_format;
mod world_forms;
mod worlds;
mod worth;
