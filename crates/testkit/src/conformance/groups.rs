//! The group distributes its partitions evenly, moves few, and never assigns one to two members.

use std::collections::BTreeSet;

use runtime::transport::MemberEvent;
use streams_core::TopicPartition;

use super::env::{Env, at, must};
use super::process::{GroupProcess, alone, check_exclusive, commit_of, settle};
use super::records::{TICK, by_partition, numbered, texts};

pub(super) fn each_partition_has_one_owner(env: &Env) {
    let topic = env.topic("in", 6);
    let mut first = alone(env, "group", &[&topic], 6);
    let mut second = GroupProcess::start(env, &env.member("group", &[&topic]));
    settle(env, &mut [&mut first, &mut second], 6);
    let mut third = GroupProcess::start(env, &env.member("group", &[&topic]));
    settle(env, &mut [&mut first, &mut second, &mut third], 6);
    assert_eq!([first.owned.len(), second.owned.len(), third.owned.len()], [2, 2, 2]);
    let all: BTreeSet<_> = [&first, &second, &third].iter().flat_map(|p| p.owned.iter()).collect();
    let expected: Vec<_> = (0..6).map(|partition| at(&topic, partition)).collect();
    assert!(all.into_iter().eq(expected.iter()));
}

pub(super) fn a_join_moves_only_what_must_move(env: &Env) {
    let topic = env.topic("in", 6);
    let mut first = alone(env, "group", &[&topic], 6);
    let mut second = GroupProcess::start(env, &env.member("group", &[&topic]));
    settle(env, &mut [&mut first, &mut second], 6);
    let before = [first.owned.clone(), second.owned.clone()];
    let assigned = [first.assigned_count, second.assigned_count];
    let mut third = GroupProcess::start(env, &env.member("group", &[&topic]));
    settle(env, &mut [&mut first, &mut second, &mut third], 6);
    assert!(first.owned.is_subset(&before[0]) && first.owned.len() == 2);
    assert!(second.owned.is_subset(&before[1]) && second.owned.len() == 2);
    assert_eq!([first.assigned_count, second.assigned_count], assigned, "kept, not assigned again");
    assert!(first.lost.is_empty() && second.lost.is_empty(), "nothing is lost in a rebalance");
}

pub(super) fn a_revoked_partition_waits_for_its_owner(env: &Env) {
    let topic = env.topic("in", 2);
    let mut first = alone(env, "group", &[&topic], 2);
    let mut second = GroupProcess::start(env, &env.member("group", &[&topic]));
    let revoked = env.eventually("a partition is revoked", || {
        second.step();
        let events = must("poll", first.member.poll(TICK));
        events.into_iter().find_map(|event| match event {
            MemberEvent::Revoked(partitions) => Some(partitions),
            other => {
                first.answer(other);
                None
            }
        })
    });
    // A worker in the first process is not done with it yet.
    env.meanwhile(|| {
        assert_eq!(must("poll", first.member.poll(TICK)), [], "told once");
        second.step();
        check_exclusive(&[&first, &second]);
    });
    first.answer(MemberEvent::Revoked(revoked));
    settle(env, &mut [&mut first, &mut second], 2);
}

pub(super) fn leaving_frees_partitions_at_once(env: &Env) {
    let topic = env.topic("in", 6);
    let mut config = env.member("group", &[&topic]);
    config.session_timeout = env.patience * 2;
    let mut first = GroupProcess::start(env, &config);
    let mut second = GroupProcess::start(env, &config);
    let mut third = GroupProcess::start(env, &config);
    settle(env, &mut [&mut first, &mut second, &mut third], 6);
    let before = [first.owned.clone(), second.owned.clone()];
    third.leave(env, &mut [&mut first, &mut second]);
    drop(third);
    // The session timeout exceeds the time limit, so only the leave can have freed them.
    settle(env, &mut [&mut first, &mut second], 6);
    assert!(first.owned.is_superset(&before[0]) && second.owned.is_superset(&before[1]));
    second.leave(env, &mut [&mut first]);
    drop(second);
    settle(env, &mut [&mut first], 6);
}

pub(super) fn followers_are_fetched_and_committed(env: &Env) {
    let lead = env.topic("lead", 2);
    let follower = env.topic("follower", 2);
    for partition in 0..2 {
        env.write(&lead, partition, numbered(3));
        env.write(&follower, partition, numbered(3));
    }
    let mut process = alone(env, "group", &[&lead], 2);
    let followers: Vec<_> = (0..2).map(|p| at(&follower, p)).collect();
    must("assign followers", process.member.assign(&followers));
    let mut fetcher = process.fetcher();
    for partition in process.owned.iter().chain(&followers) {
        must("add", fetcher.add(partition, None));
    }
    let mut seen = std::collections::BTreeMap::<TopicPartition, Vec<String>>::new();
    env.eventually("lead and follower are fetched", || {
        process.step();
        for (partition, records) in by_partition(must("poll", fetcher.poll(TICK, 100))) {
            seen.entry(partition).or_default().extend(texts(&records));
        }
        (seen.len() == 4 && seen.values().all(|texts| *texts == numbered(3))).then_some(())
    });
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    let offsets = [commit_of(&at(&lead, 0), 3, ""), commit_of(&followers[0], 2, "")];
    let group = process.metadata(env);
    must("send offsets", producer.send_offsets(&offsets, &group, env.patience));
    must("commit", producer.commit(env.patience));
    let asked = [at(&lead, 0), followers[0].clone(), followers[1].clone()];
    let found = env.retry("committed", || process.group.committed(&asked, env.patience));
    let found: Vec<_> = found.into_iter().map(|committed| committed.offset).collect();
    assert_eq!(found, [Some(3), Some(2), None]);
    for partition in &followers {
        must("remove", fetcher.remove(partition));
    }
    must("unassign followers", process.member.unassign(&followers));
    env.meanwhile(|| process.step());
    assert_eq!(process.owned.len(), 2, "that does not affect the lead's partitions");
}

pub(super) fn two_topics_are_distributed(env: &Env) {
    let one = env.topic("one", 3);
    let two = env.topic("two", 5);
    let mut first = alone(env, "group", &[&one, &two], 8);
    let mut second = GroupProcess::start(env, &env.member("group", &[&one, &two]));
    settle(env, &mut [&mut first, &mut second], 8);
    env.meanwhile(|| {
        first.step();
        second.step();
        check_exclusive(&[&first, &second]);
    });
    assert_eq!((first.owned.len(), second.owned.len()), (4, 4), "and stays so");
}
