//! JSON schemas (draft 7) of what a run tells while it goes on.

use attar_formats::schema::titled;
use serde_json::Value;

use super::events::Event;
use super::state_file::File;

/// By name: `events` (a line of `events.jsonl`), `status` (`status.json`).
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![("events", titled::<Event>("A line of events.jsonl")), ("status", titled::<File>("status.json"))]
}
