//! Events for an application that watches: with the feature `tracing` they go to the application's subscriber under the
//! target `streamlog`, without it they are nothing at all.

/// Records an event: a level of `tracing` and its fields and message.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($what:tt)+) => {
        ::tracing::event!(target: "streamlog", ::tracing::Level::$level, $($what)+)
    };
}

/// Records nothing, and evaluates nothing.
#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $($what:tt)+) => {
        ()
    };
}

pub(crate) use event;
