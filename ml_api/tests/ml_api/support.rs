//! The service as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

pub const ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

pub struct Service {
    process: Child,
    pub address: String,
}

impl Service {
    pub fn start() -> Self {
        let mut process = command("127.0.0.1:0").spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, address }
    }

    pub fn predict(&self, body: &str) -> (u16, Value) {
        let (status, answer) = self.send("POST", "/predict", body.as_bytes());
        (status, serde_json::from_str(&answer).unwrap())
    }

    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body).unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        let (head, answer) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.to_owned())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    /// Sends the head of a request and returns once the service waits for its body, of 2 bytes.
    pub fn begin_request(&self) -> TcpStream {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = "POST /predict HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        let mut interim = [0; 25];
        connection.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection
    }

    pub fn wait_until_closed(&self) {
        while TcpStream::connect(&self.address).is_ok() {}
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn command(listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ml-api"));
    command.args(["--listen", listen]).stderr(Stdio::piped());
    command
}
