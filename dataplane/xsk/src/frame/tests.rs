//! A frame against a model: a vector of its 4096 bytes and two numbers.

use proptest::prelude::*;

use crate::{Cache, FRAME_SIZE, Frame, HEADROOM, Umem, UmemConfig};

#[derive(Clone, Debug)]
enum Operation {
    Pull(usize),
    Push(usize),
    Resize(usize),
    Write(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = || prop_oneof![0_usize..64, 0..FRAME_SIZE + 64, Just(usize::MAX), Just(1 << 16)];
    prop_oneof![
        size().prop_map(Operation::Pull),
        size().prop_map(Operation::Push),
        size().prop_map(Operation::Resize),
        any::<u8>().prop_map(Operation::Write),
    ]
}

fn frame() -> (Frame, Frame) {
    let umem = Umem::new(UmemConfig { frames: 2 }).unwrap();
    let mut cache = Cache::new(&umem);
    (cache.take().unwrap(), cache.take().unwrap())
}

#[test]
fn a_fresh_frame_is_empty_with_room_on_both_sides() {
    let (frame, _other) = frame();
    assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (0, HEADROOM, FRAME_SIZE - HEADROOM));
    assert!(frame.is_empty() && frame.data().is_empty());
}

#[test]
fn data_must_fit() {
    let cases = [
        (0, 0, true),
        (0, 4096, true),
        (0, 4097, false),
        (4095, 1, true),
        (4096, 0, true),
        (4096, 1, false),
        (1, usize::MAX, false),
    ];
    for (start, len, fits) in cases {
        let (first, _second) = frame();
        let (area, index) = (first.area(), first.into_index());
        let made = Frame::with_data(area, index, start, len);
        assert_eq!(made.is_some(), fits, "{start} + {len}");
    }
}

proptest! {
    #[test]
    fn operations_move_the_edges_and_nothing_else(operations in prop::collection::vec(operation(), 1..60)) {
        let (mut frame, mut neighbor) = frame();
        prop_assert!(neighbor.push_front(HEADROOM) && neighbor.resize(FRAME_SIZE));
        neighbor.data_mut().fill(0x55);
        let mut bytes = vec![0_u8; FRAME_SIZE];
        let (mut start, mut len) = (HEADROOM, 0);
        for operation in operations {
            match operation {
                Operation::Pull(count) => {
                    let fits = count <= len;
                    prop_assert_eq!(frame.pull_front(count), fits);
                    if fits {
                        (start, len) = (start + count, len - count);
                    }
                }
                Operation::Push(count) => {
                    let fits = count <= start;
                    prop_assert_eq!(frame.push_front(count), fits);
                    if fits {
                        (start, len) = (start - count, len + count);
                    }
                }
                Operation::Resize(size) => {
                    let fits = size <= FRAME_SIZE - start;
                    prop_assert_eq!(frame.resize(size), fits);
                    if fits {
                        len = size;
                    }
                }
                Operation::Write(value) => {
                    frame.data_mut().fill(value);
                    bytes[start..start + len].fill(value);
                }
            }
            prop_assert_eq!((frame.headroom(), frame.len(), frame.tailroom()), (start, len, FRAME_SIZE - start - len));
            prop_assert_eq!(frame.data(), &bytes[start..start + len]);
        }
        prop_assert!(neighbor.data().iter().all(|byte| *byte == 0x55), "the next frame is untouched");
    }
}
