//! Why something was refused, as data: one variant, one counter, one label in the metrics.

/// Declares an enum of reasons and its counters: each variant with its documentation and its label.
///
/// ```
/// millrace_proto::reasons! {
///     /// Why a message was ignored.
///     BadPacket, BadPackets {
///         /// Shorter than a header.
///         Truncated = "truncated",
///         Version = "version",
///     }
/// }
/// let mut counters = BadPackets::default();
/// counters.count(BadPacket::Version);
/// assert_eq!((counters.get(BadPacket::Version), counters.total()), (1, 1));
/// assert_eq!(BadPacket::Version.name(), "version");
/// ```
///
/// The crate that uses it depends on `serde`.
#[macro_export]
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident, $counters:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// In metrics and in `show rip`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        #[doc = concat!("How often each [`", stringify!($name), "`] was met.")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ::serde::Serialize)]
        pub struct $counters([u64; $name::ALL.len()]);

        impl $counters {
            pub fn get(&self, reason: $name) -> u64 {
                self.0.get(reason as usize).copied().unwrap_or(0)
            }

            pub fn total(&self) -> u64 {
                self.0.iter().sum()
            }

            pub fn iter(&self) -> impl Iterator<Item = ($name, u64)> {
                $name::ALL.iter().copied().zip(self.0)
            }

            pub fn count(&mut self, reason: $name) {
                if let Some(counter) = self.0.get_mut(reason as usize) {
                    *counter += 1;
                }
            }
        }
    };
}
