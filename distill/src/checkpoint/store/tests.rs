//! Tests of what a kill may leave behind, layout by layout.

use std::collections::BTreeMap;

use attar_models::Array;

use super::*;
use crate::checkpoint::{Data, Sums};

fn checkpoint(epochs_done: usize) -> Checkpoint {
    let array = Array::new(vec![2], vec![epochs_done as f32, 0.5]).unwrap();
    let weights = Weights(BTreeMap::from([("fc.bias".to_owned(), array)]));
    let state = State {
        version: CHECKPOINT_VERSION,
        program: "test".to_owned(),
        epochs_done,
        steps_done: 0,
        sums: Sums::default(),
        best: None,
        best_on_test: None,
        metrics: Vec::new(),
        events_bytes: 0,
        seconds: 0.0,
        resumed: 0,
        threads: 1,
        recipe_sha256: String::new(),
        data: Data { train: String::new(), test: String::new(), test_before: Vec::new() },
        init_sha256: None,
        teachers: BTreeMap::new(),
        teacher_top1: BTreeMap::new(),
        teacher_checks: BTreeMap::new(),
        extended: Vec::new(),
        rollbacks: Vec::new(),
    };
    Checkpoint { model: weights.clone(), trainer: weights, state }
}

fn store() -> (tempfile::TempDir, Store) {
    let keep = tempfile::tempdir().unwrap();
    let store = Store::new(keep.path().join("checkpoints"), Failpoint::default());
    (keep, store)
}

/// Epochs of the checkpoint found, and that nothing else is left.
fn found(store: &Store) -> Option<usize> {
    let epochs = store.read("last").unwrap().map(|checkpoint| checkpoint.state.epochs_done);
    let left = std::fs::read_dir(&store.directory).unwrap().count();
    assert_eq!(left, usize::from(epochs.is_some()), "leftovers in {}", store.directory.display());
    epochs
}

fn move_to(store: &Store, from: &str, to: &str) {
    std::fs::rename(store.directory.join(from), store.directory.join(to)).unwrap();
}

#[test]
fn what_is_written_is_read() {
    let (_keep, store) = store();
    store.write("last", &checkpoint(1)).unwrap();
    store.write("last", &checkpoint(2)).unwrap();
    let read = store.read("last").unwrap().unwrap();
    assert_eq!((read.model, read.state), (checkpoint(2).model, checkpoint(2).state));
    assert_eq!(found(&store), Some(2));
}

#[test]
fn half_a_first_checkpoint_is_none() {
    let (_keep, store) = store();
    std::fs::create_dir_all(store.directory.join("last.new")).unwrap();
    assert_eq!(found(&store), None);
}

#[test]
fn half_a_second_checkpoint_leaves_the_first() {
    let (_keep, store) = store();
    store.write("last", &checkpoint(1)).unwrap();
    std::fs::create_dir_all(store.directory.join("last.new")).unwrap();
    assert_eq!(found(&store), Some(1));
}

#[test]
fn between_the_renames_the_new_one_counts() {
    let (_keep, store) = store();
    store.write("last", &checkpoint(1)).unwrap();
    store.write("next", &checkpoint(2)).unwrap();
    move_to(&store, "last", "last.old");
    move_to(&store, "next", "last.new");
    assert_eq!(found(&store), Some(2));
}

#[test]
fn between_the_renames_with_a_broken_new_one_the_old_one_counts() {
    let (_keep, store) = store();
    store.write("last", &checkpoint(1)).unwrap();
    move_to(&store, "last", "last.old");
    std::fs::create_dir_all(store.directory.join("last.new")).unwrap();
    std::fs::write(store.directory.join("last.new/model.safetensors"), b"half").unwrap();
    assert_eq!(found(&store), Some(1));
}

#[test]
fn an_old_one_left_over_is_removed() {
    let (_keep, store) = store();
    store.write("last", &checkpoint(1)).unwrap();
    std::fs::create_dir_all(store.directory.join("last.old")).unwrap();
    assert_eq!(found(&store), Some(1));
}

#[test]
fn a_state_from_another_version_says_so() {
    let (_keep, store) = store();
    let mut other = checkpoint(1);
    other.state.version = 99;
    store.write("last", &other).unwrap();
    let message = store.read("last").unwrap_err().to_string();
    assert!(message.contains("version 99") && message.contains("state.json"), "{message}");
}
