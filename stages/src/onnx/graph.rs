//! A graph of ONNX under construction: operations, constants, and what goes in and out.
//!
//! Numbers of fields and types are those of `onnx.proto`, version 8 of the format.

use std::collections::BTreeSet;

use bytemuck::cast_slice;
use pipeline::export::GraphTensor;

use super::protobuf::Message;

/// The set of operations that a graph is written in.
pub(super) const OPSET: u32 = 17;
/// The version of the format that goes with it.
const IR_VERSION: i64 = 8;

/// Types of elements.
const FLOAT: i64 = 1;
const INT_64: i64 = 7;
const BOOL: i64 = 9;
const DOUBLE: i64 = 11;

/// A value by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value(String);

/// What a value's elements are cast to.
#[derive(Clone, Copy)]
pub(super) enum Element {
    Float,
    Double,
    Row,
}

/// A setting of an operation.
pub(super) enum Attribute<'a> {
    Int(&'a str, i64),
    Ints(&'a str, &'a [i64]),
    Float(&'a str, f32),
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        let named = |name: &str| Message::default().text(1, name);
        match *self {
            Self::Float(name, value) => named(name).float(2, value).int(20, 1),
            Self::Int(name, value) => named(name).int(3, value).int(20, 2),
            Self::Ints(name, values) => named(name).ints(8, values).int(20, 7),
        }
    }
}

/// Operations in the order in which they are computed.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Message,
    constants: Message,
    named: BTreeSet<String>,
    values: usize,
    ends: Message,
}

impl Graph {
    /// An operation with one result.
    pub fn op(&mut self, kind: &str, inputs: &[&Value], attributes: &[Attribute]) -> Value {
        self.ops(kind, inputs, 1, attributes).remove(0)
    }

    /// An operation with several results.
    pub fn ops(&mut self, kind: &str, inputs: &[&Value], results: usize, attributes: &[Attribute]) -> Vec<Value> {
        let outputs: Vec<Value> = (0..results).map(|k| Value(format!("v{}", self.values + k))).collect();
        self.values += results;
        self.node(kind, inputs, &outputs, attributes);
        outputs
    }

    fn node(&mut self, kind: &str, inputs: &[&Value], outputs: &[Value], attributes: &[Attribute]) {
        let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, &input.0));
        let message = outputs.iter().fold(message, |message, output| message.text(2, &output.0)).text(4, kind);
        let message = attributes.iter().fold(message, |message, one| message.message(5, &one.message()));
        self.nodes.add(1, &message.0);
    }

    fn constant(&mut self, name: &str, element: i64, shape: &[usize], bytes: &[u8]) -> Value {
        if self.named.insert(name.to_owned()) {
            let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
            let tensor = Message::default().ints(1, &shape).int(2, element).text(8, name).bytes(9, bytes);
            self.constants.add(5, &tensor.0);
        }
        Value(name.to_owned())
    }

    /// Numbers of 32 bits; a name stands for the same ones everywhere.
    pub fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Value {
        self.constant(name, FLOAT, shape, cast_slice(data))
    }

    /// Numbers of 64 bits.
    pub fn doubles(&mut self, name: &str, shape: &[usize], data: &[f64]) -> Value {
        self.constant(name, DOUBLE, shape, cast_slice(data))
    }

    /// Whole numbers, such as row numbers.
    pub fn rows(&mut self, name: &str, shape: &[usize], data: &[i64]) -> Value {
        self.constant(name, INT_64, shape, cast_slice(data))
    }

    /// A list of whole numbers, such as a shape.
    pub fn list(&mut self, data: &[i64]) -> Value {
        let words: Vec<String> = data.iter().map(ToString::to_string).collect();
        self.rows(&format!("list {}", words.join(" ")), &[data.len()], data)
    }

    /// A single number.
    pub fn number(&mut self, value: f32) -> Value {
        self.floats(&format!("number {value:?}"), &[], &[value])
    }

    pub fn cast(&mut self, value: &Value, to: Element) -> Value {
        let to = match to {
            Element::Float => FLOAT,
            Element::Double => DOUBLE,
            Element::Row => INT_64,
        };
        self.op("Cast", &[value], &[Attribute::Int("to", to)])
    }

    pub fn reshape(&mut self, value: &Value, shape: &[i64]) -> Value {
        let shape = self.list(shape);
        self.op("Reshape", &[value, &shape], &[])
    }

    pub fn unsqueeze(&mut self, value: &Value, axis: i64) -> Value {
        let axes = self.list(&[axis]);
        self.op("Unsqueeze", &[value, &axes], &[])
    }

    pub fn squeeze(&mut self, value: &Value, axis: i64) -> Value {
        let axes = self.list(&[axis]);
        self.op("Squeeze", &[value, &axes], &[])
    }

    pub fn sum(&mut self, value: &Value, axis: i64) -> Value {
        let axes = self.list(&[axis]);
        self.op("ReduceSum", &[value, &axes], &[Attribute::Int("keepdims", 0)])
    }

    pub fn concat(&mut self, values: &[&Value], axis: i64) -> Value {
        self.op("Concat", values, &[Attribute::Int("axis", axis)])
    }

    /// Equal parts along an axis of `parts` times `size`.
    pub fn split(&mut self, value: &Value, axis: i64, parts: usize, size: usize) -> Vec<Value> {
        let sizes = self.list(&vec![size as i64; parts]);
        self.ops("Split", &[value, &sizes], parts, &[Attribute::Int("axis", axis)])
    }

    /// `from..to` along an axis.
    pub fn slice(&mut self, value: &Value, axis: i64, from: usize, to: usize) -> Value {
        let [from, to, axis] = [from as i64, to as i64, axis].map(|number| self.list(&[number]));
        self.op("Slice", &[value, &from, &to, &axis], &[])
    }

    /// Declares what is asked; its shape's words are names of sizes that are open.
    pub fn input(&mut self, tensor: &GraphTensor) -> Value {
        let info = info(tensor);
        self.ends.add(11, &info.0);
        Value(tensor.name.to_owned())
    }

    /// Declares a value as what is answered.
    pub fn output(&mut self, value: &Value, tensor: &GraphTensor) {
        self.node("Identity", &[value], &[Value(tensor.name.to_owned())], &[]);
        let info = info(tensor);
        self.ends.add(12, &info.0);
    }

    /// The file, with what it tells about itself.
    pub fn file(self, about: &str, told: &[(&str, String)]) -> Vec<u8> {
        let Self { mut nodes, constants, ends, .. } = self;
        nodes.add(2, b"policy");
        nodes.0.extend(constants.0);
        nodes.0.extend(ends.0);
        let opset = Message::default().text(1, "").int(2, i64::from(OPSET));
        let model = Message::default()
            .int(1, IR_VERSION)
            .text(2, "apprentice")
            .text(3, env!("CARGO_PKG_VERSION"))
            .text(6, about)
            .message(7, &nodes)
            .message(8, &opset);
        let pair = |(name, text): &(&str, String)| Message::default().text(1, name).text(2, text);
        told.iter().fold(model, |model, one| model.message(14, &pair(one))).0
    }
}

fn info(tensor: &GraphTensor) -> Message {
    let element = match tensor.element {
        "int64" => INT_64,
        "bool" => BOOL,
        _ => FLOAT,
    };
    let size = |size: &String| match size.parse() {
        Ok(number) => Message::default().int(1, number),
        Err(_) => Message::default().text(2, size),
    };
    let shape = tensor.shape.iter().fold(Message::default(), |shape, one| shape.message(1, &size(one)));
    let of = Message::default().int(1, element).message(2, &shape);
    Message::default().text(1, tensor.name).message(2, &Message::default().message(1, &of)).text(3, tensor.about)
}
