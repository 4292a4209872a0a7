//! Looking up many addresses at once, so that the memory serves them side by side.
//!
//! A look-up is one load from a table far larger than the caches near the core: what it costs is waiting. So the lines
//! of up to 256 addresses are asked for before the first is read; that a prefetch does not wait for its line, while a
//! load holds up all that comes after it, is worth more than anything else here (measured on 1,050,000 routes: gathers
//! alone 280 M/s, with this 400). Then all tbl24 entries are read, none of which depends on another, and last the few
//! tbl8 entries. The gathers read eight (AVX-512) or four (AVX2) entries with one instruction.

use crate::id::GroupId;
use crate::reader::Reader;

/// How [`Reader::lookup_bulk`] goes about it. All ways give equal answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bulk {
    /// Prefetch, then look up one by one. Runs everywhere.
    Prefetch,
    /// Prefetch, then gather four entries an instruction.
    Avx2,
    /// Prefetch, then gather eight entries an instruction.
    Avx512,
}

/// Addresses whose lines are asked for before the first is read. Their lines fill a third of a first-level cache.
const AHEAD: usize = 256;

impl Bulk {
    pub const ALL: &'static [Self] = &[Self::Prefetch, Self::Avx2, Self::Avx512];

    /// Whether this CPU can.
    pub fn is_available(self) -> bool {
        match self {
            Self::Prefetch => true,
            Self::Avx2 => gather::has_avx2(),
            Self::Avx512 => gather::has_avx512(),
        }
    }
}

/// A way that this CPU can go: to have one is to have asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way(Bulk);

impl Way {
    pub(crate) fn new(bulk: Bulk) -> Option<Self> {
        bulk.is_available().then_some(Self(bulk))
    }

    /// The fastest there is.
    pub(crate) fn best() -> Self {
        Self::new(Bulk::Avx512).unwrap_or(Self(Bulk::Prefetch))
    }

    pub(crate) const fn bulk(self) -> Bulk {
        self.0
    }

    #[inline]
    pub(crate) fn lookup(self, reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        let len = addresses.len().min(groups.len());
        for (addresses, groups) in addresses[..len].chunks(AHEAD).zip(groups[..len].chunks_mut(AHEAD)) {
            for &address in addresses {
                reader.prefetch(address);
            }
            match self.0 {
                Bulk::Prefetch => one_by_one(reader, addresses, groups),
                Bulk::Avx2 => gather::avx2(self, reader, addresses, groups),
                Bulk::Avx512 => gather::avx512(self, reader, addresses, groups),
            }
        }
    }
}

fn one_by_one(reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
    for (&address, group) in addresses.iter().zip(groups) {
        *group = reader.lookup(address);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod gather {
    //! Gathers of whole words of tbl24.
    //!
    //! Other threads store these words atomically, so plain vector loads (the gather intrinsics) would be data races.
    //! The instruction is therefore written in assembly, whose effect here is that of as many relaxed loads of
    //! `AtomicU64`: each element of a gather is an aligned eight-byte load, which x86 performs in one piece. Order is
    //! the architecture's: loads are seen in program order and the assembly is a barrier to the compiler, so what is
    //! read from tbl8 afterwards is at least as new as the entry that led there, as with Acquire.
    #![expect(unsafe_code, reason = "assembly, and functions that need CPU features")]

    use core::arch::asm;
    use core::arch::x86_64::{
        __m128i, __m256i, _mm_movemask_epi8, _mm_movepi16_mask, _mm_packs_epi16, _mm_packus_epi32,
        _mm_setzero_si128, _mm_storeu_si128, _mm256_and_si256, _mm256_castsi256_si128,
        _mm256_extracti128_si256, _mm256_or_si256, _mm256_set_epi32, _mm256_set1_epi64x,
        _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi32, _mm256_srli_epi64, _mm256_srlv_epi64,
        _mm512_and_si512, _mm512_cvtepi64_epi16, _mm512_cvtepu32_epi64, _mm512_set1_epi64,
        _mm512_setzero_si512, _mm512_srli_epi64, _mm512_srlv_epi64,
    };
    use std::sync::atomic::AtomicU64;

    use super::Way;
    use crate::id::GroupId;
    use crate::memory::TBL24_WORDS;
    use crate::reader::{EXTENDED, Reader};

    /// Addresses whose tbl24 entries are read before any tbl8 entry. The bits of a u64 note which need one.
    const BLOCK: usize = 64;

    type Tbl24 = [AtomicU64; TBL24_WORDS];

    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
    }

    pub(super) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
    }

    pub(super) fn avx2(_: Way, reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        // JUSTIFICATION: the function uses instructions that not every CPU has.
        // SAFETY: the way says that this CPU has AVX2.
        unsafe { avx2_blocks(reader, addresses, groups) }
    }

    pub(super) fn avx512(_: Way, reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        // JUSTIFICATION: the function uses instructions that not every CPU has.
        // SAFETY: the way says that this CPU has AVX-512 F, BW and VL.
        unsafe { avx512_blocks(reader, addresses, groups) }
    }

    #[target_feature(enable = "avx2")]
    fn avx2_blocks(reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        for (addresses, groups) in addresses.chunks(BLOCK).zip(groups.chunks_mut(BLOCK)) {
            let (eights, rest) = addresses.as_chunks::<8>();
            let (targets, rest_targets) = groups.as_chunks_mut::<8>();
            let mut extended = tail(reader, rest, rest_targets);
            for (eight, target) in eights.iter().zip(targets).rev() {
                let entries = avx2_entries(reader.memory.tbl24, eight);
                // Signed saturation keeps the top bit of each entry.
                let tops = _mm_movemask_epi8(_mm_packs_epi16(entries, _mm_setzero_si128()));
                extended = extended << 8 | u64::from(tops.to_le_bytes()[0]);
                store(target, entries);
            }
            extend(reader, addresses, groups, extended);
        }
    }

    #[target_feature(enable = "avx2")]
    fn avx2_entries(tbl24: &Tbl24, addresses: &[u32; 8]) -> __m128i {
        // The even addresses and the odd ones, as 64-bit numbers: shifting and joining keeps their order.
        let all = load(addresses);
        let even = _mm256_and_si256(all, _mm256_set1_epi64x(0xffff_ffff));
        let odd = _mm256_srli_epi64::<32>(all);
        let pairs = _mm256_or_si256(avx2_lanes(tbl24, even), _mm256_slli_epi64::<32>(avx2_lanes(tbl24, odd)));
        _mm_packus_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs))
    }

    /// The entries of four addresses.
    #[target_feature(enable = "avx2")]
    fn avx2_lanes(tbl24: &Tbl24, addresses: __m256i) -> __m256i {
        let index = _mm256_srli_epi64::<10>(addresses);
        let all = _mm256_set1_epi64x(-1);
        let mut words = _mm256_setzero_si256();
        // JUSTIFICATION: four loads at once; the module says why the intrinsic would not do.
        // SAFETY: each index is a 32-bit address shifted right by 10, so below 2^22, the length of the table: four aligned
        // loads within it, of words that are only ever accessed atomically. Nothing is written but the two registers.
        unsafe {
            asm!(
                "vpgatherqq {words}, [{table} + {index} * 8], {all}",
                table = in(reg) tbl24.as_ptr(),
                index = in(ymm_reg) index,
                words = inout(ymm_reg) words,
                all = inout(ymm_reg) all => _,
                options(nostack, readonly, preserves_flags),
            );
        }
        // The entry stands at 16 times the address's bits 8 and 9.
        let shift = _mm256_and_si256(_mm256_srli_epi64::<4>(addresses), _mm256_set1_epi64x(0x30));
        _mm256_and_si256(_mm256_srlv_epi64(words, shift), _mm256_set1_epi64x(0xffff))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn avx512_blocks(reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        for (addresses, groups) in addresses.chunks(BLOCK).zip(groups.chunks_mut(BLOCK)) {
            let (eights, rest) = addresses.as_chunks::<8>();
            let (targets, rest_targets) = groups.as_chunks_mut::<8>();
            let mut extended = tail(reader, rest, rest_targets);
            for (eight, target) in eights.iter().zip(targets).rev() {
                let entries = avx512_entries(reader.memory.tbl24, eight);
                extended = extended << 8 | u64::from(_mm_movepi16_mask(entries));
                store(target, entries);
            }
            extend(reader, addresses, groups, extended);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn avx512_entries(tbl24: &Tbl24, addresses: &[u32; 8]) -> __m128i {
        let addresses = load(addresses);
        let index = _mm256_srli_epi32::<10>(addresses);
        let mut words = _mm512_setzero_si512();
        // JUSTIFICATION: eight loads at once; the module says why the intrinsic would not do.
        // SAFETY: each index is a 32-bit address shifted right by 10, so below 2^22, the length of the table: eight aligned
        // loads within it, of words that are only ever accessed atomically. Nothing is written but the two registers.
        unsafe {
            asm!(
                // Not by kxnorw: that would wait for the mask register, which the gather before this one still writes.
                "kmovw {all}, {ones:e}",
                "vpgatherdq {words}{{{all}}}, [{table} + {index} * 8]",
                table = in(reg) tbl24.as_ptr(),
                index = in(ymm_reg) index,
                words = inout(zmm_reg) words,
                ones = in(reg) 0xff,
                all = out(kreg) _,
                options(nostack, readonly, preserves_flags),
            );
        }
        // The entry stands at 16 times the address's bits 8 and 9.
        let shift = _mm512_srli_epi64::<4>(_mm512_cvtepu32_epi64(addresses));
        let shift = _mm512_and_si512(shift, _mm512_set1_epi64(0x30));
        _mm512_cvtepi64_epi16(_mm512_srlv_epi64(words, shift))
    }

    /// The last step: looks up in tbl8 those of a block whose bit is set. Their places hold tbl24 entries.
    fn extend(reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId], mut extended: u64) {
        while extended != 0 {
            let i = extended.trailing_zeros() as usize;
            extended &= extended - 1;
            if let (Some(&address), Some(group)) = (addresses.get(i), groups.get_mut(i)) {
                *group = reader.lookup8(group.0, address);
            }
        }
    }

    /// A block's tail, which fills no vector: entries as they are, and the bits of those that need tbl8.
    fn tail(reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) -> u64 {
        let mut extended = 0;
        for (i, (&address, group)) in addresses.iter().zip(groups).enumerate() {
            *group = GroupId(reader.entry24(address));
            extended |= u64::from(group.0 & EXTENDED != 0) << (i & 63);
        }
        extended
    }

    #[target_feature(enable = "avx2")]
    fn load(a: &[u32; 8]) -> __m256i {
        let [a, b, c, d, e, f, g, h] = a.map(u32::cast_signed);
        _mm256_set_epi32(h, g, f, e, d, c, b, a)
    }

    #[target_feature(enable = "avx2")]
    fn store(target: &mut [GroupId; 8], entries: __m128i) {
        // JUSTIFICATION: there is no safe store of a vector.
        // SAFETY: the target is 16 writable bytes (GroupId is a transparent u16), at any alignment.
        unsafe { _mm_storeu_si128(core::ptr::from_mut(target).cast(), entries) }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod gather {
    //! No gathers here: the ways that need them are never available.

    use super::{Way, one_by_one};
    use crate::id::GroupId;
    use crate::reader::Reader;

    pub(super) fn has_avx2() -> bool {
        false
    }

    pub(super) fn has_avx512() -> bool {
        false
    }

    pub(super) fn avx2(_: Way, reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        one_by_one(reader, addresses, groups);
    }

    pub(super) fn avx512(_: Way, reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        one_by_one(reader, addresses, groups);
    }
}
