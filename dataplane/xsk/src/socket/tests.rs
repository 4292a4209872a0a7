//! A socket whose rings lead to a kernel that the test plays, honest or not.

use std::collections::VecDeque;
use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::ring::tests::pair;
use crate::umem::{Member, Place};
use crate::{Census, FRAME_SIZE, UmemConfig};

/// The far ends of a socket's rings, and what the kernel has in hand.
struct Kernel {
    rx: Producer<Descriptor>,
    tx: Consumer<Descriptor>,
    fill: Consumer<u64>,
    completion: Producer<u64>,
    to_receive: VecDeque<u64>,
    to_complete: VecDeque<u64>,
}

/// In a namespace that does not exist, so that no probe finds it.
const PLACE: Place = Place { namespace: u64::MAX, ifindex: 5, queue: 0 };
const ENTRIES: u32 = 16;
const FRAMES: u32 = 64;

fn bound(mode: BoundMode) -> (Umem, Socket, Kernel) {
    let umem = Umem::new(UmemConfig { frames: FRAMES }).unwrap();
    let area = umem.area();
    let start = u32::MAX - 20;
    let (rx_kernel, rx) = pair(ENTRIES, start);
    let (tx, tx_kernel) = pair(ENTRIES, start);
    let (fill, fill_kernel) = pair(ENTRIES, start);
    let (completion_kernel, completion) = pair(ENTRIES, start);
    let fd = Arc::new(OwnedFd::from(File::open("/dev/null").unwrap()));
    let gauges = Arc::new(SocketGauges::default());
    let mut registry = area.registry();
    let slot = registry.free_slot().unwrap();
    let member = Member { slot, place: PLACE, mode, fd: Arc::downgrade(&fd), gauges: Arc::clone(&gauges) };
    registry.members.push(member);
    drop(registry);
    let rings = RingSizes { rx: ENTRIES, tx: ENTRIES, fill: ENTRIES, completion: ENTRIES };
    let socket = Socket {
        area,
        rx,
        tx,
        fill,
        completion,
        in_fragments: false,
        mode,
        zero_copy_refusal: None,
        config: SocketConfig { rings, ..SocketConfig::new(PLACE.ifindex, PLACE.queue) },
        gauges,
        fd,
        membership: Membership { area, slot, interface_gone: false },
    };
    let (to_receive, to_complete) = Default::default();
    let kernel = Kernel {
        rx: rx_kernel,
        tx: tx_kernel,
        fill: fill_kernel,
        completion: completion_kernel,
        to_receive,
        to_complete,
    };
    (umem, socket, kernel)
}

impl Kernel {
    fn take_fill(&mut self) {
        let to_receive = &mut self.to_receive;
        self.fill.consume(ENTRIES, |addr| to_receive.push_back(addr));
    }

    fn receive(&mut self, descriptor: Descriptor) {
        assert_eq!(self.rx.produce(1, || Some(descriptor)), 1);
    }

    /// Receives `count` frames of `len` bytes where the fill ring said, 256 bytes in.
    fn receive_some(&mut self, count: u32, len: u32) -> u32 {
        self.take_fill();
        let to_receive = &mut self.to_receive;
        self.rx.produce(count, || Some(Descriptor { addr: to_receive.pop_front()? + 256, len, options: 0 }))
    }

    fn send_some(&mut self, count: u32) {
        let to_complete = &mut self.to_complete;
        self.tx.consume(count, |descriptor| to_complete.push_back(descriptor.addr));
    }

    fn complete_some(&mut self, count: u32) {
        let to_complete = &mut self.to_complete;
        self.completion.produce(count, || to_complete.pop_front());
    }
}

fn filled(socket: &mut Socket, kernel: &mut Kernel, umem: &Umem) -> Cache {
    let mut cache = Cache::new(umem);
    assert_eq!(socket.refill(&mut cache), ENTRIES as usize);
    kernel.take_fill();
    cache
}

#[derive(Clone, Debug)]
enum Step {
    Refill,
    Receive(u32),
    Rx,
    Tx(usize),
    Send(u32),
    Completed(u32),
    Complete,
    Forget(usize),
    Lie(u64, u32),
    LieCompleted(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Refill),
        3 => (0_u32..20).prop_map(Step::Receive),
        3 => Just(Step::Rx),
        3 => (0_usize..30).prop_map(Step::Tx),
        3 => (0_u32..20).prop_map(Step::Send),
        3 => (0_u32..20).prop_map(Step::Completed),
        3 => Just(Step::Complete),
        1 => (0_usize..5).prop_map(Step::Forget),
        1 => (any::<u64>(), any::<u32>()).prop_map(|(addr, len)| Step::Lie(addr, len)),
        1 => (0..u64::from(FRAMES) * FRAME_SIZE as u64, any::<u32>()).prop_map(|(addr, len)| Step::Lie(addr, len)),
        1 => (0..u64::from(FRAMES) * FRAME_SIZE as u64).prop_map(Step::LieCompleted),
    ]
}

proptest! {
    /// Whatever happens in whatever order, no frame is lost and none is in two places, even with a kernel that makes
    /// descriptors up.
    #[test]
    fn frames_are_conserved(steps in prop::collection::vec(step(), 1..200)) {
        let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
        let mut cache = Cache::new(&umem);
        let mut held = VecDeque::new();
        for step in steps {
            match step {
                Step::Refill => { socket.refill(&mut cache); }
                Step::Receive(count) => { kernel.receive_some(count, 60); }
                Step::Rx => {
                    let mut frames = ArrayVec::<Frame, 7>::new();
                    prop_assert_eq!(socket.rx(&mut frames), frames.len());
                    held.extend(frames);
                }
                Step::Tx(count) => {
                    let mut frames: VecDeque<Frame> = held.drain(..count.min(held.len())).collect();
                    let offered = frames.len();
                    let taken = socket.tx_queue(&mut frames);
                    prop_assert_eq!(taken + frames.len(), offered, "what is not taken stays");
                    held.extend(frames);
                }
                Step::Send(count) => kernel.send_some(count),
                Step::Completed(count) => kernel.complete_some(count),
                Step::Complete => { socket.complete(&mut cache); }
                Step::Forget(count) => drop(held.drain(..count.min(held.len()))),
                Step::Lie(addr, len) => {
                    // Only a frame that the kernel has cannot be told from the truth; the rest must be refused.
                    let in_hand = kernel.to_receive.iter().any(|given| given / 4096 == addr / 4096);
                    kernel.take_fill();
                    let in_hand = in_hand || kernel.to_receive.iter().any(|given| given / 4096 == addr / 4096);
                    if !in_hand && kernel.rx.free(1) > 0 {
                        let invalid = socket.gauges.rx_invalid();
                        let mut frames = ArrayVec::<Frame, 64>::new();
                        socket.rx(&mut frames);
                        held.extend(frames);
                        kernel.receive(Descriptor { addr, len, options: 0 });
                        // The books of the ring count a frame for each descriptor, so make good what was made up.
                        socket.gauges.fill_moved(1, 0);
                        let mut frames = ArrayVec::<Frame, 64>::new();
                        prop_assert_eq!(socket.rx(&mut frames), 0);
                        prop_assert_eq!(socket.gauges.rx_invalid(), invalid + 1);
                    }
                }
                Step::LieCompleted(addr) => {
                    kernel.send_some(ENTRIES);
                    let sent = kernel.to_complete.iter().any(|given| given / 4096 == addr / 4096);
                    socket.complete(&mut cache);
                    if !sent {
                        let invalid = socket.gauges.completion_invalid();
                        kernel.completion.produce(1, || Some(addr));
                        prop_assert_eq!(socket.complete(&mut cache), 0);
                        prop_assert_eq!(socket.gauges.completion_invalid(), invalid + 1);
                    }
                }
            }
            let places: std::collections::BTreeSet<_> = held.iter().map(|frame| frame.address() / 4096).collect();
            prop_assert_eq!(places.len(), held.len(), "two frames in one place");
            let census = umem.census();
            prop_assert!(census.is_consistent(u32::try_from(held.len()).unwrap()), "{:?} with {} held", census, held.len());
        }
        drop(socket);
        drop(held);
        drop(cache);
        umem.area().registry().torn_down(umem.area(), PLACE);
        prop_assert_eq!(umem.census(), Census { total: FRAMES, pool: FRAMES, ..Census::default() });
    }
}

#[test]
fn received_frames_are_where_the_kernel_says() {
    let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
    let _cache = filled(&mut socket, &mut kernel, &umem);
    assert_eq!(kernel.receive_some(3, 1500), 3);
    assert!(socket.has_received());
    let mut frames = ArrayVec::<Frame, 2>::new();
    assert_eq!(socket.rx(&mut frames), 2);
    assert_eq!(socket.rx(&mut frames), 0, "no room");
    for frame in &frames {
        assert_eq!((frame.headroom(), frame.len()), (256, 1500));
    }
    frames.clear();
    assert_eq!(socket.rx(&mut frames), 1);
    assert!(!socket.has_received());
}

#[test]
fn a_descriptor_beyond_its_frame_returns_the_frame_and_is_counted() {
    let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
    let _cache = filled(&mut socket, &mut kernel, &umem);
    for (offset, len) in [(0, 4097), (4095, 2), (256, 3841), (256, u32::MAX)] {
        let addr = kernel.to_receive.pop_front().unwrap() + offset;
        kernel.receive(Descriptor { addr, len, options: 0 });
    }
    let mut frames = ArrayVec::<Frame, 16>::new();
    assert_eq!(socket.rx(&mut frames), 0);
    assert_eq!(socket.gauges().rx_invalid(), 4);
    assert!(umem.census().is_consistent(0), "{:?}", umem.census());
}

#[test]
fn fragments_are_refused_to_the_last_and_their_frames_come_back() {
    let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
    let _cache = filled(&mut socket, &mut kernel, &umem);
    // Two fragments and the end of the frame, a whole frame, one fragment and its end.
    for (len, options) in [(4000, 1), (4000, 1), (10, 0), (60, 0), (4000, 1), (20, 0), (61, 0)] {
        let addr = kernel.to_receive.pop_front().unwrap();
        kernel.receive(Descriptor { addr, len, options });
    }
    let mut lengths = Vec::new();
    let mut frames = ArrayVec::<Frame, 1>::new();
    while socket.has_received() {
        socket.rx(&mut frames);
        lengths.extend(frames.drain(..).map(|frame| frame.len()));
    }
    assert_eq!(lengths, [60, 61]);
    assert_eq!(socket.gauges().rx_fragments(), 5);
    assert!(umem.census().is_consistent(0), "{:?}", umem.census());
}

#[test]
fn a_full_tx_ring_leaves_frames_with_the_caller_in_order() {
    let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
    let mut cache = Cache::new(&umem);
    let mut frames = ArrayVec::<Frame, 24>::new();
    for number in 0..24_u8 {
        let mut frame = cache.take().unwrap();
        assert!(frame.resize(60));
        frame.data_mut().fill(number);
        frames.push(frame);
    }
    assert_eq!(socket.tx(&mut frames), 16);
    assert_eq!(frames.iter().map(|frame| frame.data()[0]).collect::<Vec<_>>(), (16..24).collect::<Vec<_>>());
    assert_eq!(socket.tx(&mut frames), 0);
    assert_eq!((socket.tx_pending(), socket.tx_in_flight()), (16, 16));
    kernel.send_some(16);
    assert_eq!((socket.tx_pending(), socket.tx_in_flight()), (0, 16));
    assert_eq!(socket.tx(&mut frames), 8);
    kernel.complete_some(16);
    assert_eq!(socket.complete(&mut cache), 16);
    assert_eq!(socket.tx_in_flight(), 8);
    assert!(umem.census().is_consistent(0));
}

#[test]
fn what_cannot_be_sent_returns_to_its_pool() {
    let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
    let other = Umem::new(UmemConfig { frames: 1 }).unwrap();
    let mut cache = Cache::new(&umem);
    let mut frames = VecDeque::new();
    for len in [0, 13, 14] {
        let mut frame = cache.take().unwrap();
        assert!(frame.resize(len));
        frames.push_back(frame);
    }
    let mut stranger = Cache::new(&other).take().unwrap();
    assert!(stranger.resize(60));
    frames.push_front(stranger);
    assert_eq!(socket.tx_queue(&mut frames), 4);
    kernel.send_some(9);
    assert_eq!((kernel.to_complete.len(), socket.gauges().tx_refused()), (1, 3));
    assert!(umem.census().is_consistent(0));
    assert_eq!(other.census().pool, 1);
}

#[test]
fn a_closed_socket_returns_at_once_what_the_kernel_returned_and_the_rest_on_proof() {
    for interface_gone in [false, true] {
        let (umem, mut socket, mut kernel) = bound(BoundMode::Copy);
        let mut cache = filled(&mut socket, &mut kernel, &umem);
        kernel.receive_some(5, 60);
        let mut frames = ArrayVec::<Frame, 3>::new();
        socket.rx(&mut frames);
        socket.tx(&mut frames);
        kernel.send_some(3);
        kernel.complete_some(1);
        socket.refill(&mut cache);
        drop(cache);
        let Membership { area, slot, .. } = socket.membership;
        if interface_gone {
            // As the drop of a socket does when the kernel told so.
            drop(Membership { area, slot, interface_gone });
        }
        drop(socket);
        // 5 of the 16 in hand were received, 16 more were given, and of 3 sent 1 was completed.
        let quarantined = if interface_gone { 0 } else { 16 - 5 + 16 + 2 };
        let expected = Census { total: FRAMES, pool: FRAMES - quarantined, quarantined, ..Census::default() };
        assert_eq!(umem.census(), expected);
        assert_eq!(umem.reclaim(), quarantined, "nothing is proven");
        let mut registry = area.registry();
        assert_eq!(
            registry.free_slot() == Some(slot),
            interface_gone,
            "a number is free when its frames are"
        );
        for other in
            [Place { namespace: 1, ..PLACE }, Place { ifindex: 6, ..PLACE }, Place { queue: 1, ..PLACE }]
        {
            registry.torn_down(area, other);
            assert_eq!(registry.closing.len(), usize::from(!interface_gone), "{other:?} proves nothing");
        }
        registry.torn_down(area, PLACE);
        drop(registry);
        assert_eq!(umem.census(), Census { total: FRAMES, pool: FRAMES, ..Census::default() });
    }
}
