//! The pages over HTTP: from a request to a response as a function, then connections and their limits.

mod future;
mod negotiate;
mod options;
mod response;
mod stats;

mod auth;
mod console;
mod host;
mod process;
mod rendered;
mod series;
mod service;
mod shutdown;

mod accept;
mod builder;
mod handler;
mod limit;
mod pages;
mod routes;
mod server;
mod timeout;

pub use auth::InvalidToken;
pub use builder::ServerBuilder;
pub use future::ResponseFuture;
pub use handler::Handler;
pub use server::{Server, serve};
pub use shutdown::shutdown_signal;
