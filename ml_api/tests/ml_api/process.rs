//! How it starts and how it stops.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Service, command};

#[test]
fn a_taken_address_is_a_wrong_setting() {
    let service = Service::start();
    let second = command(&service.address).output().unwrap();
    let expected = format!("cannot listen on {}: address in use\n", service.address);
    assert_eq!(String::from_utf8(second.stderr).unwrap(), expected);
    assert_eq!(second.status.code(), Some(78));
}

#[test]
fn stops_cleanly_on_a_signal() {
    for name in ["TERM", "INT"] {
        let mut service = Service::start();
        let _idle = TcpStream::connect(&service.address).unwrap();
        service.signal(name);
        assert_eq!(service.exit_code(), Some(0), "{name}");
    }
}

#[test]
fn answers_what_is_in_flight_before_it_stops() {
    let mut service = Service::start();
    let mut request = service.begin_request();
    service.signal("TERM");
    service.wait_until_closed();

    request.write_all(b"[]").unwrap();
    let mut response = String::new();
    request.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("[]"), "{response}");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut service = Service::start();
    let _stalled = service.begin_request();
    service.signal("TERM");
    service.wait_until_closed();
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
}
