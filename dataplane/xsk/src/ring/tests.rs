//! Both halves of a ring over the same memory, one of them in the kernel's place.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use rustix::fs::MemfdFlags;

use super::*;

const LAYOUT: XdpRingOffset = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };

/// Ring memory whose cursors start at `cursor`, with both ends mapped.
pub(crate) fn pair<T: Item>(entries: u32, cursor: u32) -> (Producer<T>, Consumer<T>) {
    let memory = memory(entries, cursor);
    let producer = Producer::map(memory.as_fd(), 0, &LAYOUT, entries).unwrap();
    let consumer = Consumer::map(memory.as_fd(), 0, &LAYOUT, entries).unwrap();
    (producer, consumer)
}

fn memory(entries: u32, cursor: u32) -> File {
    let memory = File::from(rustix::fs::memfd_create("ring", MemfdFlags::CLOEXEC).unwrap());
    memory.set_len(LAYOUT.desc + u64::from(entries) * 16).unwrap();
    for offset in [LAYOUT.producer, LAYOUT.consumer] {
        memory.write_all_at(&cursor.to_ne_bytes(), offset).unwrap();
    }
    memory
}

fn produce(ring: &mut Producer<u64>, max: u32, items: &mut impl Iterator<Item = u64>) -> u32 {
    ring.produce(max, || items.next())
}

fn consume(ring: &mut Consumer<u64>, max: u32) -> Vec<u64> {
    let mut items = Vec::new();
    let count = ring.consume(max, |item| items.push(item));
    assert_eq!(count as usize, items.len());
    items
}

proptest! {
    /// Whatever the batches and wherever the cursors, also over 2^32: what goes in comes out, once, in order.
    #[test]
    fn a_ring_is_a_bounded_queue(
        cursor in prop_oneof![Just(0), u32::MAX - 40..=u32::MAX, any::<u32>()],
        log_entries in 0_u32..5,
        batches in prop::collection::vec((any::<bool>(), 0_u32..40, 0_usize..40), 1..60),
    ) {
        let entries = 1 << log_entries;
        let (mut producer, mut consumer) = pair::<u64>(entries, cursor);
        let mut model = VecDeque::new();
        let mut source = 0_u64..;
        for (into, max, offered) in batches {
            let before = model.len();
            if into {
                let room = entries as usize - model.len();
                let count = room.min(max as usize).min(offered);
                model.extend(source.start..source.start + count as u64);
                prop_assert_eq!(produce(&mut producer, max, &mut source.by_ref().take(offered)) as usize, count);
                prop_assert_eq!(source.start, model.back().map_or(source.start, |last| last + 1), "no item is lost");
            } else {
                let count = model.len().min(max as usize);
                let expected: Vec<u64> = model.drain(..count).collect();
                prop_assert_eq!(consume(&mut consumer, max), expected);
            }
            prop_assert_eq!(producer.pending() as usize, model.len());
            prop_assert_eq!(consumer.available() as usize, model.len());
            prop_assert_eq!(producer.free(entries) as usize, entries as usize - model.len(), "{} before", before);
        }
    }
}

#[test]
fn an_item_is_asked_for_only_if_there_is_room() {
    let (mut producer, mut consumer) = pair::<u64>(4, u32::MAX - 1);
    let mut asked = 0;
    let mut next = || {
        asked += 1;
        Some(asked)
    };
    assert_eq!(producer.produce(3, &mut next), 3);
    assert_eq!(producer.produce(9, &mut next), 1);
    assert_eq!(producer.produce(9, &mut next), 0);
    assert_eq!(asked, 4);
    assert_eq!(consume(&mut consumer, 9), [1, 2, 3, 4]);
}

#[test]
fn a_batch_is_published_at_its_end() {
    let (mut producer, consumer) = pair::<u64>(4, 0);
    let mut left = 3_u64;
    producer.produce(4, || {
        assert_eq!(consumer.available(), 0);
        left = left.checked_sub(1)?;
        Some(left)
    });
    assert_eq!(consumer.available(), 3);
}

#[test]
fn cursors_that_make_no_sense_stay_inside_the_ring() {
    for wrong in [5, 1 << 31, u32::MAX] {
        let memory = memory(4, 0);
        let mut producer = Producer::<u64>::map(memory.as_fd(), 0, &LAYOUT, 4).unwrap();
        let mut consumer = Consumer::<u64>::map(memory.as_fd(), 0, &LAYOUT, 4).unwrap();
        memory.write_all_at(&wrong.to_ne_bytes(), LAYOUT.consumer).unwrap();
        assert!(producer.produce(9, || Some(1)) <= 4, "never more than the ring has slots");
        memory.write_all_at(&wrong.to_ne_bytes(), LAYOUT.producer).unwrap();
        assert_eq!(consume(&mut consumer, 9).len(), 4, "more than the ring holds");
    }
}

#[test]
fn the_kernel_asks_to_be_woken_by_a_flag() {
    let memory = memory(4, 0);
    let producer = Producer::<u64>::map(memory.as_fd(), 0, &LAYOUT, 4).unwrap();
    for (flags, wanted) in [(0_u32, false), (1, true), (2, false), (3, true), (0, false)] {
        memory.write_all_at(&flags.to_ne_bytes(), 128).unwrap();
        assert_eq!(producer.needs_wakeup(), wanted, "{flags}");
    }
}

#[test]
fn a_layout_that_makes_no_sense_is_refused() {
    let memory = memory(4, 0);
    let cases = [
        ("entries", 3, LAYOUT),
        ("no entries", 0, LAYOUT),
        ("kernel before 5.4", 4, XdpRingOffset { flags: None, ..LAYOUT }),
        ("cursor not aligned", 4, XdpRingOffset { producer: 2, ..LAYOUT }),
        ("slots not aligned", 4, XdpRingOffset { desc: 196, ..LAYOUT }),
        ("slots beyond the address space", 4, XdpRingOffset { desc: u64::MAX - 7, ..LAYOUT }),
        ("cursor beyond the address space", 4, XdpRingOffset { consumer: u64::MAX - 3, ..LAYOUT }),
    ];
    for (name, entries, layout) in cases {
        assert!(Consumer::<u64>::map(memory.as_fd(), 0, &layout, entries).is_err(), "{name}");
    }
}
