//! The form in which a model was taught to converse: the chat template that its file carries, a Jinja text.
//!
//! The file's template is rendered strictly, without access to anything but the messages; what it does not know is an error,
//! never a guess. Not here: Python's methods of texts (`.strip()`), tools, dates.

use anyhow::{Context as _, Result, anyhow, bail};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};

use super::metadata::Header;

/// A file's chat template.
pub(super) struct Chat {
    template: String,
    /// What the template may print at the end of a message.
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

    /// The conversation in segments that are evaluated one by one: what `context` and `completion_prefix` say as one message of the user, the
    /// first piece as the system's, then the beginning of the answer. Pieces end where those of `context` do, so that a
    /// conversation that grew by one costs one; a template that rewrites them makes one segment.
    pub(super) fn segments(&self, context: &[String], completion_prefix: &str) -> Result<Vec<String>> {
        let (system, told) = context.split_first().map_or(("", &[][..]), |(first, rest)| (first.trim(), rest));
        let user = format!("{}{completion_prefix}", told.concat());
        let whole = self.render(system, &user)?;
        // Compared by what a template may not change: it may trim, or write all in capitals.
        let signs =
            |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
        let kept = signs(&whole);
        for (what, text) in [("what it is asked", &user[..]), ("the instructions", system)] {
            if !kept.contains(&signs(text)) {
                bail!(
                    "{}: the chat template of the file leaves out {what}, so the model would answer to something else\nhelp: use a model \
                     with a plainer template, or one behind a server",
                    self.place
                );
            }
        }
        let Some(start) = whole.rfind(&user) else { return Ok(vec![whole]) };
        let mut segments = vec![whole[..start].to_owned()];
        segments.extend(told.iter().cloned());
        segments.push(format!("{completion_prefix}{}", &whole[start + user.len()..]));
        segments.retain(|segment| !segment.is_empty());
        Ok(segments)
    }

    fn render(&self, system: &str, user: &str) -> Result<String> {
        let mut jinja = Environment::new();
        jinja.set_undefined_behavior(UndefinedBehavior::Strict);
        // As Hugging Face's transformers render them.
        jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        jinja.set_fuel(Some(1_000_000));
        let refuse = |why: String| Err::<String, _>(Error::new(ErrorKind::InvalidOperation, why));
        jinja.add_function("raise_exception", refuse);
        let message = |role: &str, content: &str| context! { role => role, content => content };
        let mut messages = vec![message("system", system), message("user", user)];
        if system.is_empty() {
            messages.remove(0);
        }
        // The beginning of a text is the tokenizer's to add.
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
    fn a_template_that_rewrites_its_messages_is_one_segment_and_one_that_fails_is_named() {
        let upper = chat("{% for m in messages %}{{ m.content|upper }}{{ eos_token }}{% endfor %}");
        assert_eq!(upper.segments(&texts(&["s\n", "a\n"]), "b").unwrap(), ["S</s>A\nB</s>"]);
        for (template, lost) in [
            ("hello", "what it is asked"),
            ("{{ messages[0].content }}", "what it is asked"),
            (
                "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
                "the instructions",
            ),
        ] {
            let error =
                chat(template).segments(&texts(&["Be brief.\n", "Alien: 5\n"]), "Thought:").unwrap_err().to_string();
            assert!(error.starts_with(&format!("FILE: the chat template of the file leaves out {lost}")), "{error}");
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
