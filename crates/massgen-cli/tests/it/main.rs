//! The command as a user has it: the real binary, real servers, real sockets.

mod bad_input;
mod conversation;
mod mcp;
mod real_model;
mod support;
mod team;
mod trouble;
