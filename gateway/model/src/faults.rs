//! Reasons for which something that a caller offered is none: each with a stable name for metrics, and a sentence for operators.

/// Makes an enum of reasons, its names and its sentences.
macro_rules! faults {
    ($(#[$doc:meta])* pub enum $name:ident { $($variant:ident = $code:literal, $sentence:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $sentence] $variant,)* }

        impl $name {
            /// Every one, for documentation and metrics.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name: the label in metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $sentence,)* })
            }
        }

        impl std::error::Error for $name {}
    };
}

pub(crate) use faults;
