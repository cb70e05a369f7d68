mod carry;
mod helper;
mod http;
mod mux;
mod proxy;
mod services;
