//! Frames between pool, caches and holders, with the books kept.

use std::collections::BTreeSet;
use std::thread;

use super::*;
use crate::{Cache, Frame};

fn umem(frames: u32) -> Umem {
    Umem::new(UmemConfig { frames }).unwrap()
}

fn slot(number: u16) -> Slot {
    Slot(NonZeroU16::new(number).unwrap())
}

#[test]
fn sizes_that_are_not_possible_are_refused() {
    for frames in [0, MAX_FRAMES + 1, u32::MAX] {
        assert_eq!(
            Umem::new(UmemConfig { frames }).unwrap_err(),
            UmemError::Size { frames, max: MAX_FRAMES }
        );
    }
}

#[test]
fn owners_survive_their_encoding() {
    for number in [1, 2, Slot::MAX] {
        for owner in
            [Owner::User, Owner::Fill(slot(number)), Owner::Tx(slot(number)), Owner::Quarantine(slot(number))]
        {
            assert_eq!(Owner::decode(owner.encode()), owner);
        }
    }
}

#[test]
fn every_frame_is_given_once_and_comes_back() {
    const FRAMES: u32 = 1000;
    let umem = umem(FRAMES);
    let mut cache = Cache::new(&umem);
    let frames: Vec<Frame> = std::iter::from_fn(|| cache.take()).collect();
    let places: BTreeSet<u64> = frames.iter().map(Frame::address).collect();
    assert_eq!(places.len(), FRAMES as usize);
    assert!(cache.take().is_none());
    assert_eq!(umem.census(), Census { total: FRAMES, held: FRAMES, ..Census::default() });

    let mut frames = frames.into_iter();
    for frame in frames.by_ref().take(600) {
        cache.put(frame);
    }
    let census = umem.census();
    assert_eq!((census.pool + census.cached, census.held), (600, 400));
    assert!(0 < census.cached && census.cached < 600, "a cache keeps some and returns the rest: {census:?}");

    drop(frames);
    assert_eq!(umem.census().held, 0, "dropped frames are in the pool");
    drop(cache);
    assert_eq!(umem.census(), Census { total: FRAMES, pool: FRAMES, ..Census::default() });
}

#[test]
fn a_frame_goes_to_its_own_pool() {
    let (ours, theirs) = (umem(4), umem(4));
    let mut cache = Cache::new(&ours);
    let frame = Cache::new(&theirs).take().unwrap();
    cache.put(frame);
    for umem in [ours, theirs] {
        assert_eq!(umem.census(), Census { total: 4, pool: 4, ..Census::default() });
    }
}

#[test]
fn a_frame_comes_back_only_from_whom_it_was_given_to() {
    let umem = umem(2);
    let area = umem.area();
    let (index, offset) = area.index_of(4096 + 7).unwrap();
    assert_eq!((index, offset), (FrameIndex(1), 7));
    assert_eq!(area.index_of(2 * 4096), None);
    assert_eq!(area.index_of(u64::MAX), None);

    let given = Owner::Fill(slot(3));
    for other in [Owner::Fill(slot(3)), Owner::Tx(slot(3)), Owner::Quarantine(slot(3))] {
        assert!(!area.take_back(index, other), "it was not given away: {other:?}");
    }
    area.hand_over(index, given);
    for other in [Owner::Tx(slot(3)), Owner::Fill(slot(4)), Owner::Quarantine(slot(3)), Owner::User] {
        assert!(!area.take_back(index, other), "{other:?}");
    }
    assert!(area.take_back(index, given));
    assert!(!area.take_back(index, given), "twice");
}

#[test]
fn frames_move_between_threads() {
    const FRAMES: u32 = 512;
    let umem = umem(FRAMES);
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Frame>(64);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut cache = Cache::new(&umem);
            for number in 0..20_000_u32 {
                let mut frame = loop {
                    match cache.take() {
                        Some(frame) => break frame,
                        None => thread::yield_now(),
                    }
                };
                assert!(frame.resize(4));
                frame.data_mut().copy_from_slice(&number.to_be_bytes());
                sender.send(frame).unwrap();
            }
        });
        scope.spawn(move || {
            let mut cache = Cache::new(&umem);
            for (number, frame) in (0_u32..).zip(receiver) {
                assert_eq!(frame.data(), number.to_be_bytes());
                if number % 3 == 0 {
                    drop(frame);
                } else {
                    cache.put(frame);
                }
            }
        });
    });
    assert_eq!(umem.census(), Census { total: FRAMES, pool: FRAMES, ..Census::default() });
}
