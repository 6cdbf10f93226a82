//! The chat template of a model's file, in Jinja.
//!
//! The template has access to the messages only. It may ask whether something else is there, as templates ask for tools; to print or to
//! read what is not there is an error. Of Python's string methods it has those that templates of published models use most. Not here: the
//! others, tools, dates.

use anyhow::{Context as _, Result, anyhow, bail};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, context};

use super::metadata::Header;

/// A file's chat template.
pub(super) struct Chat {
    template: String,
    /// The token that the template may print at the end of a message.
    end: String,
    place: String,
}

impl Chat {
    /// None where the file has none.
    pub(super) fn from_header(header: &Header) -> Result<Option<Self>> {
        let Some(template) = header.text("tokenizer.chat_template")? else { return Ok(None) };
        let tokens = header.required("tokenizer.ggml.tokens", header.texts("tokenizer.ggml.tokens"))?;
        let end = header.integer("tokenizer.ggml.eos_token_id")?.and_then(|id| tokens.get(id).cloned());
        Ok(Some(Self { template, end: end.unwrap_or_default(), place: header.place() }))
    }

    /// The conversation in segments that are evaluated one by one. The first piece of `context` is the system message; the other
    /// pieces and `completion_prefix` are one user message; the beginning of the answer follows. Segments end where the pieces of
    /// `context` end, so that a new piece costs only itself; a template that rewrites the pieces makes one segment.
    pub(super) fn segments(&self, context: &[String], completion_prefix: &str) -> Result<Vec<String>> {
        let (system, turns) = context.split_first().map_or(("", &[][..]), |(first, rest)| (first.trim(), rest));
        let user = format!("{}{completion_prefix}", turns.concat());
        let whole = self.render(system, &user)?;
        // Compared by letters and digits: a template may trim, or change the case.
        let letters =
            |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
        let rendered = letters(&whole);
        for (what, text) in [("the question", &user[..]), ("the instructions", system)] {
            if !rendered.contains(&letters(text)) {
                bail!(
                    "{}: the chat template of the file omits {what}, so the model would answer another prompt\nhelp: use a model with \
                     a simpler template, or one behind a server",
                    self.place
                );
            }
        }
        let Some(start) = whole.rfind(&user) else { return Ok(vec![whole]) };
        let mut segments = vec![whole[..start].to_owned()];
        segments.extend(turns.iter().cloned());
        segments.push(format!("{completion_prefix}{}", &whole[start + user.len()..]));
        segments.retain(|segment| !segment.is_empty());
        Ok(segments)
    }

    fn render(&self, system: &str, user: &str) -> Result<String> {
        let mut jinja = Environment::new();
        jinja.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        // As Hugging Face's transformers render them.
        jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        jinja.set_fuel(Some(1_000_000));
        let refuse = |why: String| Err::<String, _>(Error::new(ErrorKind::InvalidOperation, why));
        jinja.add_function("raise_exception", refuse);
        jinja.set_unknown_method_callback(string_method);
        let message = |role: &str, content: &str| context! { role => role, content => content };
        let mut messages = vec![message("system", system), message("user", user)];
        if system.is_empty() {
            messages.remove(0);
        }
        // The tokenizer adds the start token.
        let given = context! { messages, add_generation_prompt => true, bos_token => "", eos_token => &self.end };
        let rendered = jinja.template_from_str(&self.template).and_then(|template| template.render(given));
        rendered.map_err(|error| anyhow!("{error:#}")).with_context(|| {
            format!(
                "{}: the chat template of the file cannot be rendered\nhelp: use a model with a plainer template, or one behind \
                 a server",
                self.place
            )
        })
    }
}

/// Python's methods of strings, without arguments where Python needs none.
fn string_method(_: &mut State<'_, '_>, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let unknown = || Error::new(ErrorKind::UnknownMethod, format!("no method `{method}`"));
    let text = value.as_str().ok_or_else(unknown)?;
    match method {
        "strip" | "lstrip" | "rstrip" | "upper" | "lower" => {
            let () = from_args(arguments)?;
            Ok(match method {
                "strip" => text.trim().into(),
                "lstrip" => text.trim_start().into(),
                "rstrip" => text.trim_end().into(),
                "upper" => text.to_uppercase().into(),
                _ => text.to_lowercase().into(),
            })
        }
        "startswith" | "endswith" => {
            let (part,): (&str,) = from_args(arguments)?;
            Ok((if method == "startswith" { text.starts_with(part) } else { text.ends_with(part) }).into())
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + \
                          '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn chat(template: &str) -> Chat {
        Chat { template: template.to_owned(), end: "</s>".to_owned(), place: "FILE".to_owned() }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_conversation_is_cut_where_its_pieces_end() {
        let found = chat(CHATML).segments(&texts(&["Be brief.\n", "Alien: 5\n", "Heat: 4\n"]), "Thought:").unwrap();
        let wanted = [
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n",
            "Alien: 5\n",
            "Heat: 4\n",
            "Thought:<|im_end|>\n<|im_start|>assistant\n",
        ];
        assert_eq!(found, wanted);
        let alone = chat(CHATML).segments(&[], "Hello").unwrap();
        assert_eq!(alone.concat(), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
        // What a user says is no template.
        let hostile = chat(CHATML).segments(&texts(&["", "{{ messages }}{% raw %}\n"]), "?").unwrap();
        assert_eq!(hostile[1], "{{ messages }}{% raw %}\n");
    }

    #[test]
    fn methods_of_strings_are_pythons() {
        // The form of Llama 2's template.
        let llama_2 = "{% for m in messages %}{% if m.role.startswith('user') %}[INST] {{ m.content.strip() }} [/INST]\
                       {% elif not m['role'].endswith('r') %}<<SYS>>{{ m.content.rstrip().upper() }}<</SYS>>{% endif %}{% endfor %}";
        let found = chat(llama_2).segments(&texts(&["Be brief.\n", "Alien: 5\n"]), "Thought: ").unwrap();
        assert_eq!(found, ["<<SYS>>BE BRIEF.<</SYS>>[INST] ", "Alien: 5\n", "Thought: [/INST]"]);
        for template in
            ["{{ messages[0].content.strip(1, 2) }}", "{{ messages[0].content.zfill(3) }}", "{{ 'a'.endswith() }}"]
        {
            let error = format!("{:#}", chat(template).segments(&[], "x").unwrap_err());
            assert!(error.contains("help: "), "{error}");
        }
    }

    #[test]
    fn a_template_may_ask_for_tools_and_there_are_none() {
        // The form of Qwen 2.5's template.
        let qwen = "{%- if tools %}{{ tools|tojson }}{%- endif %}{%- for message in messages %}\
                    {%- if (message.role == 'user') or (message.role == 'system') or (message.role == 'assistant' and not \
                    message.tool_calls) %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}\
                    {%- endif %}{%- endfor %}";
        let found = chat(qwen).segments(&texts(&["Be brief.\n", "Alien: 5\n"]), "Why?").unwrap().concat();
        assert_eq!(found, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAlien: 5\nWhy?<|im_end|>\n");
    }

    #[test]
    fn a_template_that_rewrites_its_messages_is_one_segment_and_one_that_fails_is_named() {
        let upper = chat("{% for m in messages %}{{ m.content|upper }}{{ eos_token }}{% endfor %}");
        assert_eq!(upper.segments(&texts(&["s\n", "a\n"]), "b").unwrap(), ["S</s>A\nB</s>"]);
        for (template, lost) in [
            ("hello", "the question"),
            ("{{ messages[0].content }}", "the question"),
            (
                "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
                "the instructions",
            ),
        ] {
            let error =
                chat(template).segments(&texts(&["Be brief.\n", "Alien: 5\n"]), "Thought:").unwrap_err().to_string();
            assert!(error.starts_with(&format!("FILE: the chat template of the file omits {lost}")), "{error}");
        }
        for template in [
            "{{ unknown }}",
            "{{ raise_exception('no system') }}",
            "{% for %}",
            "{% for i in range(9999999) %}.{% endfor %}",
        ] {
            let error = format!("{:#}", chat(template).segments(&[], "x").unwrap_err());
            assert!(error.starts_with("FILE: the chat template") && error.contains("help: "), "{error}");
        }
    }
}
