//! Seeded traces of destination addresses.

use millrace_net::Prefix;

/// How destinations are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trace {
    /// Any unicast address (1.0.0.0 to 223.255.255.255).
    Uniform,
    /// Any address of any prefix of the table, each prefix as likely as any other.
    Announced,
    /// One of a million hosts drawn as in `Announced`, by Zipf's law (s = 1).
    Zipf,
}

/// Hosts of [`Trace::Zipf`].
const HOSTS: usize = 1_000_000;

impl Trace {
    pub const ALL: [Self; 3] = [Self::Uniform, Self::Announced, Self::Zipf];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Announced => "announced",
            Self::Zipf => "zipf",
        }
    }

    /// `len` addresses over the prefixes of a table, which is not empty.
    pub fn draw(self, prefixes: &[Prefix], len: usize, seed: u64) -> Vec<u32> {
        let mut rng = Rng(seed);
        match self {
            Self::Uniform => (0..len).map(|_| rng.within(1 << 24, 224 << 24)).collect(),
            Self::Announced => (0..len).map(|_| announced(prefixes, &mut rng)).collect(),
            Self::Zipf => {
                let hosts: Vec<_> = (0..HOSTS).map(|_| announced(prefixes, &mut rng)).collect();
                // The distribution function of rank r is about ln(r) / ln(HOSTS): its inverse is HOSTS^u.
                let scale = (HOSTS as f64).ln();
                (0..len).map(|_| hosts[floor((rng.unit() * scale).exp()).min(HOSTS) - 1]).collect()
            }
        }
    }
}

fn announced(prefixes: &[Prefix], rng: &mut Rng) -> u32 {
    let prefix = prefixes[floor(rng.unit() * prefixes.len() as f64).min(prefixes.len() - 1)];
    prefix.bits() | u32_of(rng.next()) & !prefix.mask()
}

/// splitmix64: the traces of a seed are the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    #[expect(clippy::should_implement_trait, reason = "a generator does not end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `from .. to`.
    pub fn within(&mut self, from: u32, to: u32) -> u32 {
        from + u32_of((u64::from(u32_of(self.next())) * u64::from(to - from)) >> 32)
    }

    /// A random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, floor(self.unit() * (last + 1) as f64).min(last));
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn u32_of(bits: u64) -> u32 {
    bits as u32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a small positive number")]
fn floor(x: f64) -> usize {
    x as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_reproducible_and_within_their_bounds() {
        let prefixes: Vec<Prefix> = ["10.0.0.0/8", "192.0.2.0/24"].map(|text| text.parse().unwrap()).into();
        for trace in Trace::ALL {
            let addresses = trace.draw(&prefixes, 1000, 7);
            assert_eq!(addresses, trace.draw(&prefixes, 1000, 7));
            assert_ne!(addresses, trace.draw(&prefixes, 1000, 8));
            for address in addresses {
                let announced = prefixes.iter().any(|p| p.contains(address.into()));
                assert!(announced || trace == Trace::Uniform && (1 << 24..224 << 24).contains(&address));
            }
        }
    }

    #[test]
    fn zipf_favours_few_hosts() {
        let mut sorted = Trace::Zipf.draw(&[Prefix::DEFAULT], 100_000, 1);
        sorted.sort_unstable();
        let top = sorted.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap();
        // 1 / ln(10^6) of all, and a little more for the first rank.
        assert!((4_000..12_000).contains(&top), "{top}");
    }

    #[test]
    fn shuffling_keeps_everything() {
        let mut items: Vec<_> = (0..100).collect();
        Rng(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
