//! AS paths as they stand on the wire with four-octet numbers: segments of a kind, a count and that many ASes.
//! RFC 4271 §4.3 b and §5.1.2, RFC 5065 §3, RFC 6793 §4.2.3.

use std::fmt;

use millrace_policy as policy;

/// What a segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SegmentKind {
    Set = 1,
    Sequence = 2,
    ConfedSequence = 3,
    ConfedSet = 4,
}

/// A checked path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AsPath<'p>(&'p [u8]);

/// One segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'p> {
    pub kind: SegmentKind,
    ases: &'p [u8],
}

/// ASes a segment holds at most.
const FULL: u8 = 255;

impl SegmentKind {
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }

    pub const fn is_confederation(self) -> bool {
        matches!(self, Self::ConfedSequence | Self::ConfedSet)
    }
}

impl<'p> Segment<'p> {
    pub fn ases(self) -> impl ExactSizeIterator<Item = u32> + use<'p> {
        self.ases.as_chunks().0.iter().map(|octets| u32::from_be_bytes(*octets))
    }
}

impl<'p> AsPath<'p> {
    /// `bytes` come from [`read`] or from [`prepend`].
    pub const fn new(bytes: &'p [u8]) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> &'p [u8] {
        self.0
    }

    pub fn segments(self) -> impl Iterator<Item = Segment<'p>> + use<'p> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&[kind, count], behind) = rest.split_first_chunk()?;
            let (ases, behind) = behind.split_at_checked(4 * usize::from(count))?;
            rest = behind;
            Some(Segment { kind: SegmentKind::from_octet(kind)?, ases })
        })
    }

    /// As RFC 4271 §9.1.2.2 a and RFC 5065 §5.3 count: a set is one, what is inside the confederation is none.
    pub fn hops(self) -> usize {
        self.segments()
            .map(|segment| match segment.kind {
                SegmentKind::Sequence => segment.ases().len(),
                SegmentKind::Set => 1,
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
            })
            .sum()
    }

    /// Who announced it: the first AS outside of the confederation. RFC 4271 §9.1.2.2 c.
    pub fn neighbor(self) -> Option<u32> {
        let mut outside = self.segments().filter(|segment| !segment.kind.is_confederation());
        outside.next().filter(|segment| segment.kind == SegmentKind::Sequence)?.ases().next()
    }

    /// The first AS of all, which an external peer has put there.
    pub fn first(self) -> Option<u32> {
        self.segments().next()?.ases().next()
    }

    /// Who originated it; None where a set stands at the end.
    pub fn origin(self) -> Option<u32> {
        let last = self.segments().last()?;
        (last.kind == SegmentKind::Sequence).then(|| last.ases().last())?
    }

    /// How often `asn` stands in it.
    pub fn count(self, asn: u32) -> usize {
        self.segments().flat_map(Segment::ases).filter(|one| *one == asn).count()
    }

    /// RFC 9774: sets are not to be used.
    pub fn has_sets(self) -> bool {
        self.segments().any(|segment| matches!(segment.kind, SegmentKind::Set | SegmentKind::ConfedSet))
    }

    pub fn has_confederation(self) -> bool {
        self.segments().any(|segment| segment.kind.is_confederation())
    }

    /// As policies see it: without what is inside the confederation.
    pub fn to_policy(self) -> policy::AsPath {
        let mut segments = Vec::new();
        for segment in self.segments() {
            match segment.kind {
                SegmentKind::Sequence => segments.extend(segment.ases().map(policy::Segment::As)),
                SegmentKind::Set => segments.push(policy::Segment::Set(segment.ases().collect())),
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => {}
            }
        }
        policy::AsPath::new(segments)
    }
}

impl fmt::Display for AsPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for segment in self.segments() {
            let (open, between, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            write!(f, "{space}{open}")?;
            let mut comma = "";
            for asn in segment.ases() {
                write!(f, "{comma}{asn}")?;
                comma = between;
            }
            f.write_str(close)?;
            space = " ";
        }
        Ok(())
    }
}

/// Puts `asn` in front, `times` times; into the first segment where that is of the same kind and has room.
pub fn prepend(path: &mut Vec<u8>, kind: SegmentKind, asn: u32, times: u8) {
    for _ in 0..times {
        match path.first_chunk_mut() {
            Some([first, count]) if *first == kind as u8 && *count < FULL => *count += 1,
            Some(_) | None => drop(path.splice(0..0, [kind as u8, 1])),
        }
        path.splice(2..2, asn.to_be_bytes());
    }
}

/// Rewrites every AS by `change`.
pub fn rewrite(path: &[u8], mut change: impl FnMut(SegmentKind, u32) -> Option<u32>) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for segment in AsPath(path).segments() {
        let kept: Vec<u32> = segment.ases().filter_map(|asn| change(segment.kind, asn)).collect();
        push(&mut out, segment.kind, &kept);
    }
    out
}

/// Appends a segment; an empty one is none.
pub fn push(out: &mut Vec<u8>, kind: SegmentKind, ases: &[u32]) {
    for run in ases.chunks(FULL.into()) {
        out.extend([kind as u8, u8::try_from(run.len()).unwrap_or(FULL)]);
        out.extend(run.iter().flat_map(|asn| asn.to_be_bytes()));
    }
}

/// Reads a path with ASes of `width` octets (2 or 4) into the form with four. None: it is malformed (RFC 7606 §7.2):
/// a kind that is not known, an empty segment, or lengths that do not add up.
pub fn read(mut bytes: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 4 / width.max(1));
    while !bytes.is_empty() {
        let (&[kind, count], behind) = bytes.split_first_chunk()?;
        SegmentKind::from_octet(kind)?;
        let (ases, behind) = behind.split_at_checked(width * usize::from(count))?;
        if count == 0 {
            return None;
        }
        out.extend([kind, count]);
        if width == 4 {
            out.extend_from_slice(ases);
        } else {
            out.extend(ases.as_chunks().0.iter().flat_map(|&[a, b]| [0, 0, a, b]));
        }
        bytes = behind;
    }
    Some(out)
}

/// The path for a peer that has two octets for an AS, and whether that lost anything (RFC 6793 §4.2.2).
pub fn narrow(path: AsPath<'_>) -> (Vec<u8>, bool) {
    let mut lost = false;
    let mut out = Vec::with_capacity(path.0.len());
    for segment in path.segments() {
        out.extend([segment.kind as u8, u8::try_from(segment.ases().len()).unwrap_or(FULL)]);
        for asn in segment.ases() {
            let short = u16::try_from(asn).unwrap_or(crate::wire::AS_TRANS);
            lost |= u32::from(short) != asn;
            out.extend(short.to_be_bytes());
        }
    }
    (out, lost)
}

/// What an old speaker's AS_PATH and the AS4_PATH beside it stand for (RFC 6793 §4.2.3).
pub fn merge(path: Vec<u8>, four: &[u8]) -> Vec<u8> {
    let (hops, known) = (AsPath(&path).hops(), AsPath(four).hops());
    let Some(mut missing) = hops.checked_sub(known) else { return path };
    let mut out = Vec::new();
    for segment in AsPath(&path).segments() {
        if segment.kind.is_confederation() {
            push(&mut out, segment.kind, &segment.ases().collect::<Vec<_>>());
            continue;
        }
        if missing == 0 {
            break;
        }
        match segment.kind {
            SegmentKind::Sequence => {
                let taken: Vec<u32> = segment.ases().take(missing).collect();
                missing -= taken.len();
                push(&mut out, segment.kind, &taken);
            }
            SegmentKind::Set | SegmentKind::ConfedSequence | SegmentKind::ConfedSet => {
                missing -= 1;
                push(&mut out, segment.kind, &segment.ases().collect::<Vec<_>>());
            }
        }
    }
    // Two sequences that meet are one.
    for segment in AsPath(four).segments() {
        let ases: Vec<u32> = segment.ases().collect();
        push(&mut out, segment.kind, &ases);
    }
    joined(&out)
}

/// With neighbouring sequences made one, as they were before they were cut.
fn joined(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut run: Vec<u32> = Vec::new();
    for segment in AsPath(path).segments() {
        if segment.kind == SegmentKind::Sequence {
            run.extend(segment.ases());
            continue;
        }
        push(&mut out, SegmentKind::Sequence, &std::mem::take(&mut run));
        push(&mut out, segment.kind, &segment.ases().collect::<Vec<_>>());
    }
    push(&mut out, SegmentKind::Sequence, &run);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for word in text.split_whitespace() {
            let kind = if word.starts_with('{') {
                SegmentKind::Set
            } else if word.starts_with('(') {
                SegmentKind::ConfedSequence
            } else {
                SegmentKind::Sequence
            };
            let ases: Vec<u32> =
                word.trim_matches(['{', '}', '(', ')']).split(',').map(|asn| asn.parse().unwrap()).collect();
            push(&mut out, kind, &ases);
        }
        joined(&out)
    }

    #[test]
    fn counting_and_reading() {
        for (text, hops, neighbor, origin) in [
            ("", 0, None, None),
            ("1 2 3", 3, Some(1), Some(3)),
            ("1 2 {3,4}", 3, Some(1), None),
            ("(7) 1 2", 2, Some(1), Some(2)),
            ("{1,2}", 1, None, None),
        ] {
            let bytes = path(text);
            let path = AsPath::new(&bytes);
            assert_eq!((path.hops(), path.neighbor(), path.origin()), (hops, neighbor, origin), "{text}");
            assert_eq!(path.to_string(), text);
            assert_eq!(read(&bytes, 4).as_deref(), Some(&bytes[..]));
        }
    }

    #[test]
    fn prepending_fills_segments() {
        let mut bytes = path("{3,4}");
        prepend(&mut bytes, SegmentKind::Sequence, 9, 2);
        assert_eq!(AsPath::new(&bytes).to_string(), "9 9 {3,4}");
        prepend(&mut bytes, SegmentKind::Sequence, 8, 255);
        assert_eq!(AsPath::new(&bytes).hops(), 258);
        assert_eq!(AsPath::new(&bytes).segments().count(), 3);
        assert_eq!(AsPath::new(&bytes).first(), Some(8));
    }

    #[test]
    fn two_octets_and_back() {
        for (two, four, whole) in [
            ("1 23456 2", "70000 2", "1 70000 2"),
            ("1 23456 2", "70000 2 3 4", "1 23456 2"),
            ("5 1 {2,3}", "1 {2,3}", "5 1 {2,3}"),
            ("1 2", "", "1 2"),
        ] {
            let (narrow, _) = narrow(AsPath::new(&path(two)));
            let wide = read(&narrow, 2).unwrap();
            assert_eq!(AsPath::new(&merge(wide, &path(four))).to_string(), whole);
        }
        assert!(narrow(AsPath::new(&path("70000"))).1 && !narrow(AsPath::new(&path("7"))).1);
    }

    #[test]
    fn malformed_paths() {
        for bytes in [&[2, 1, 0][..], &[2], &[2, 0], &[5, 1, 0, 1], &[2, 2, 0, 1, 0]] {
            assert_eq!(read(bytes, 2), None, "{bytes:?}");
        }
    }
}
