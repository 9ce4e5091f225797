//! Members that die, come back, or only seem dead.

use std::thread;
use std::time::Duration;

use runtime::transport::ErrorKind;

use super::env::{Env, at, must, must_fail};
use super::process::{GroupProcess, alone, commit_of, settle};
use super::records::send;

pub(super) fn static_member_takes_its_old_place(env: &Env) {
    let topic = env.topic("in", 6);
    let config = |instance: &str| {
        let mut config = env.member("group", &[&topic]);
        config.instance_id = Some(instance.into());
        // Longer than the time limit: only the instance id can have brought the partitions back.
        config.session_timeout = env.patience * 2;
        config
    };
    let mut first = GroupProcess::start(env, &config("one"));
    let mut second = GroupProcess::start(env, &config("two"));
    settle(env, &mut [&mut first, &mut second], 6);
    let kept = first.owned.clone();
    let old = second.owned.clone();
    let assigned = first.assigned_count;
    let before = second.metadata(env);
    assert_eq!(before.instance_id.as_deref(), Some("two"));
    // Crashes without leaving, and restarts.
    drop(second);
    let mut second = GroupProcess::start(env, &config("two"));
    env.eventually("the old partitions are back", || {
        first.step();
        second.step();
        assert_eq!(first.owned, kept, "the other member notices nothing");
        (second.owned == old).then_some(())
    });
    assert_eq!(first.assigned_count, assigned);
    let after = second.metadata(env);
    assert_ne!(after.member_id, before.member_id, "a new member in the old place");
    let mut producer = env.transactional("old");
    must("begin", producer.begin());
    let Some(partition) = old.first() else { panic!("owns nothing") };
    let offsets = [commit_of(partition, 1, "")];
    let kinds = [ErrorKind::Abortable, ErrorKind::Fenced];
    let result = producer.send_offsets(&offsets, &before, env.patience);
    must_fail("offsets of the old incarnation", &kinds, result);
}

/// A member that fell silent, and the one that owns its partitions now.
fn succeed(
    env: &Env,
    topic: &std::sync::Arc<str>,
    partitions: usize,
) -> (GroupProcess, GroupProcess) {
    let silent = alone(env, "group", &[topic], partitions);
    let mut successor = GroupProcess::start(env, &env.member("group", &[topic]));
    let count = silent.owned.len();
    env.eventually("the silent member's partitions are assigned to the other", || {
        successor.step();
        (successor.owned.len() == partitions).then_some(())
    });
    assert_eq!(count, partitions);
    (silent, successor)
}

pub(super) fn silent_member_loses_its_partitions(env: &Env) {
    let topic = env.topic("in", 4);
    let (mut silent, mut successor) = succeed(env, &topic, 4);
    // Some may have been revoked before the session expired; the rest are lost.
    env.eventually("the silent member learns that it has lost its partitions", || {
        silent.step();
        successor.step();
        (!silent.lost.is_empty()).then_some(())
    });
    // It is a member again, and gets its share.
    settle(env, &mut [&mut silent, &mut successor], 4);
    assert_eq!((silent.owned.len(), successor.owned.len()), (2, 2));
}

pub(super) fn expired_member_cannot_commit(env: &Env) {
    let topic = env.topic("in", 1);
    let output = env.topic("out", 1);
    let mut zombie = alone(env, "group", &[&topic], 1);
    let identity = zombie.metadata(env);
    // Longer than the session: it is the group that refuses.
    let mut producer = env.init(Some(env.name("zombie")), Duration::from_secs(60));
    must("begin", producer.begin());
    send(&mut *producer, &output, 0, ["from a dead member"]);
    let mut successor = GroupProcess::start(env, &env.member("group", &[&topic]));
    env.eventually("the successor has the partition", || {
        successor.step();
        thread::yield_now();
        (successor.owned.len() == 1).then_some(())
    });
    let offsets = [commit_of(&at(&topic, 0), 9, "")];
    let kinds = [ErrorKind::Abortable, ErrorKind::Fenced];
    let result = producer.send_offsets(&offsets, &identity, env.patience);
    must_fail("offsets of the expired member", &kinds, result);
    must("abort", producer.abort(env.patience));
    assert!(env.read(&output, 0, true).is_empty());
    let asked = [at(&topic, 0)];
    let found = env.retry("committed", || successor.group.committed(&asked, env.patience));
    assert_eq!(found[0].offset, None);
}

pub(super) fn metadata_needs_membership(env: &Env) {
    let topic = env.topic("in", 1);
    let mut process = alone(env, "group", &[&topic], 1);
    let metadata = process.metadata(env);
    assert_eq!(metadata.group_id, env.name("group"));
    assert!(metadata.generation >= 0 && !metadata.member_id.is_empty(), "{metadata:?}");
    assert_eq!(metadata.instance_id, None);
    process.leave(env, &mut []);
    env.eventually("no identity after leaving", || match process.group.metadata() {
        Ok(_) => {
            process.step();
            None
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
            Some(())
        }
    });
}
