//! From a list of rules to classes and vectors.
//!
//! Ranges (addresses, ports) are swept from low to high: at each boundary some rules begin to match and some cease, and
//! the set in between is one class. Small fields are simply tried value by value.

use std::collections::BTreeMap;
use std::collections::HashMap;

use millrace_net::Prefix;

use crate::Acl;
use crate::field::{Field, NO_FLAGS, NO_PORTS, Pool, Segments, slot_of};
use crate::rule::{Dscps, Fragment, Fragments, Ports, Rule};

/// A list that cannot be compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompileError {
    /// More than [`MAX_RULES`] rules.
    TooManyRules(usize),
    /// The vectors would take more than 4 Gi words.
    TooLarge,
}

/// Longest list: 64 × 64 × 64 rules.
pub const MAX_RULES: usize = 1 << 18;

impl core::fmt::Display for CompileError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooManyRules(n) => write!(f, "a list has at most {MAX_RULES} rules, not {n}"),
            Self::TooLarge => f.write_str("the rules are too many and too different to be compiled"),
        }
    }
}

impl core::error::Error for CompileError {}

pub(crate) fn compile(rules: &[Rule]) -> Result<Acl, CompileError> {
    if MAX_RULES < rules.len() {
        return Err(CompileError::TooManyRules(rules.len()));
    }
    let mut vectors = Vectors::new(rules.len());
    let mut fields = Vec::new();
    if rules.iter().any(|r| !r.src.is_empty()) {
        fields.push(Field::Src(vectors.addresses(rules, |r| &r.src)?));
    }
    if rules.iter().any(|r| !r.dst.is_empty()) {
        fields.push(Field::Dst(vectors.addresses(rules, |r| &r.dst)?));
    }
    if rules.iter().any(|r| !r.src_ports.is_empty()) {
        fields.push(Field::SrcPort(vectors.ports(rules, |r| &r.src_ports)?));
    }
    if rules.iter().any(|r| !r.dst_ports.is_empty()) {
        fields.push(Field::DstPort(vectors.ports(rules, |r| &r.dst_ports)?));
    }
    if rules.iter().any(|r| r.protocol.is_some()) {
        fields.push(Field::Protocol(
            vectors.values(rules, 256, |r, value| r.protocol.is_none_or(|p| usize::from(p) == value))?,
        ));
    }
    if rules.iter().any(|r| r.tcp_flags.is_some()) {
        fields.push(Field::TcpFlags(vectors.values(rules, NO_FLAGS + 1, |r, value| {
            r.tcp_flags.is_none_or(|f| u8::try_from(value).is_ok_and(|flags| flags & f.mask == f.value))
        })?));
    }
    if rules.iter().any(|r| r.fragments != Fragments::Any || r.dscp != Dscps::ANY) {
        let mut kinds = [(0, Fragment::Whole); 64 * 3];
        for dscp in 0..64 {
            for fragment in [Fragment::Whole, Fragment::First, Fragment::Later] {
                kinds[slot_of(dscp, fragment)] = (dscp, fragment);
            }
        }
        fields.push(Field::DscpFragment(vectors.values(rules, kinds.len(), |r, value| {
            let (dscp, fragment) = kinds[value];
            r.dscp.has(dscp) && r.fragments.met_by(fragment)
        })?));
    }
    Ok(Acl { actions: rules.iter().map(|r| r.action).collect(), fields: fields.into(), pool: vectors.pool })
}

/// The pool under construction. Equal vectors are stored once.
struct Vectors {
    pool: Pool,
    seen: HashMap<Box<[u64]>, u32>,
    /// 64-rule words in a vector.
    len: usize,
}

/// Rules that begin (true) or cease (false) to match at a boundary.
type Boundaries = BTreeMap<u64, Vec<(usize, bool)>>;

impl Vectors {
    fn new(rules: usize) -> Self {
        Self { pool: Pool::new(rules), seen: HashMap::new(), len: rules.div_ceil(64) }
    }

    fn intern(&mut self, vector: &[u64]) -> Result<u32, CompileError> {
        if let Some(&at) = self.seen.get(vector) {
            return Ok(at);
        }
        let at = u32::try_from(self.pool.push(vector)).map_err(|_| CompileError::TooLarge)?;
        self.seen.insert(vector.into(), at);
        Ok(at)
    }

    fn values(
        &mut self,
        rules: &[Rule],
        count: usize,
        met: impl Fn(&Rule, usize) -> bool,
    ) -> Result<Box<[u32]>, CompileError> {
        let mut vector = vec![0u64; self.len];
        (0..count)
            .map(|value| {
                vector.fill(0);
                for (i, _) in rules.iter().enumerate().filter(|(_, r)| met(r, value)) {
                    vector[i / 64] |= 1 << (i % 64);
                }
                self.intern(&vector)
            })
            .collect()
    }

    fn addresses(
        &mut self,
        rules: &[Rule],
        of: impl Fn(&Rule) -> &Vec<Prefix>,
    ) -> Result<Segments, CompileError> {
        let mut boundaries = Boundaries::new();
        for (i, rule) in rules.iter().enumerate() {
            let prefixes = of(rule);
            let whole = [Prefix::DEFAULT];
            for prefix in if prefixes.is_empty() { &whole[..] } else { prefixes } {
                boundaries.entry(prefix.bits().into()).or_default().push((i, true));
                boundaries.entry(u64::from(prefix.last().to_bits()) + 1).or_default().push((i, false));
            }
        }
        let (starts, vectors) = self.sweep(rules.len(), boundaries, 1 << 32)?;
        // The sweep's starts are under 2^32.
        let starts = starts.into_iter().map(|s| u32::try_from(s).unwrap_or(u32::MAX)).collect();
        Ok(Segments::new(starts, vectors))
    }

    fn ports(&mut self, rules: &[Rule], of: impl Fn(&Rule) -> &Ports) -> Result<Box<[u32]>, CompileError> {
        let mut boundaries = Boundaries::new();
        let mut without = vec![0u64; self.len];
        for (i, rule) in rules.iter().enumerate() {
            let ranges = of(rule);
            if ranges.is_empty() {
                without[i / 64] |= 1 << (i % 64);
            }
            let whole = [0..=u16::MAX];
            for range in if ranges.is_empty() { &whole[..] } else { ranges } {
                if range.start() <= range.end() {
                    boundaries.entry((*range.start()).into()).or_default().push((i, true));
                    boundaries.entry(u64::from(*range.end()) + 1).or_default().push((i, false));
                }
            }
        }
        let (starts, vectors) = self.sweep(rules.len(), boundaries, NO_PORTS as u64)?;
        let mut table = Vec::with_capacity(NO_PORTS + 1);
        for (k, at) in vectors.iter().enumerate() {
            let end = starts.get(k + 1).copied().unwrap_or(NO_PORTS as u64);
            table.resize(usize::try_from(end).unwrap_or(NO_PORTS), *at);
        }
        table.push(self.intern(&without)?);
        Ok(table.into())
    }

    /// Starts and vectors of the classes of a value space of size `end`; the first start is 0.
    fn sweep(
        &mut self,
        rules: usize,
        mut boundaries: Boundaries,
        end: u64,
    ) -> Result<(Vec<u64>, Vec<u32>), CompileError> {
        boundaries.entry(0).or_default();
        // A rule may cover a value by several of its ranges at once.
        let mut covers = vec![0u32; rules];
        let mut vector = vec![0u64; self.len];
        let (mut starts, mut vectors) = (Vec::new(), Vec::new());
        for (start, changes) in boundaries.range(..end) {
            // Begin before cease, so that a count never dips below zero where ranges adjoin.
            for begins in [true, false] {
                for &(i, _) in changes.iter().filter(|(_, b)| *b == begins) {
                    covers[i] = if begins { covers[i] + 1 } else { covers[i] - 1 };
                    let bit = 1 << (i % 64);
                    if covers[i] == 0 { vector[i / 64] &= !bit } else { vector[i / 64] |= bit }
                }
            }
            let at = self.intern(&vector)?;
            if vectors.last() != Some(&at) {
                starts.push(*start);
                vectors.push(at);
            }
        }
        Ok((starts, vectors))
    }
}
