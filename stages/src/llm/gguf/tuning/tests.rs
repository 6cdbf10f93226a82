use rayon::ThreadPoolBuilder;

use super::super::llama_cpp_tests::smollm2;
use super::super::toy::Toy;
use super::*;

const PROMPT: &str = "<|im_start|>user\nWatched: Heat, Toy Story\nNext:<|im_end|>\n";
const ANSWER: &str = " the theatre over";

fn toys() -> Vec<(&'static str, Gguf)> {
    let folder = tempfile::tempdir().unwrap();
    let made = [
        ("llama, tied", Toy::new().unwrap()),
        ("llama, untied", Toy::new().unwrap().untied().unwrap()),
        ("llama 3", Toy::llama_3().unwrap()),
        ("qwen2, tied", Toy::crossing("qwen2", "qwen2").unwrap()),
        ("qwen2, untied", Toy::crossing("qwen2", "qwen2").unwrap().untied().unwrap()),
    ];
    let path = folder.path().join("toy.gguf");
    made.map(|(name, toy)| {
        toy.write(&path).unwrap();
        (name, Gguf::load(&path).unwrap())
    })
    .into()
}

fn sequence(model: &Gguf, prompt: &str, answer: &str, virtual_tokens: usize) -> Sequence {
    let mut tokens: Vec<u32> = model.tokenizer.start.into_iter().collect();
    tokens.extend(model.tokenize(prompt).unwrap());
    let place = tokens.len() / 2;
    tokens.splice(place..place, (0..virtual_tokens).map(|index| model.virtual_id(index)));
    let begin = tokens.len();
    tokens.extend(model.tokenize_continuation(answer).unwrap());
    Sequence { tokens, answer: begin }
}

/// Low-rank terms of all maps with B away from zero, and three virtual tokens.
fn everything(model: &Gguf) -> Adaptation {
    let mut adaptation = model.new_low_rank(&Projection::ALL, 3, 6.0, &[1]);
    let mut draws = rng(&[2]);
    for term in adaptation.low_rank.iter_mut().flat_map(|maps| maps.values_mut()) {
        term.b.fill_with(|| 0.2 * (draws.random::<f32>() - 0.5));
    }
    adaptation.virtual_tokens = model.new_virtual_tokens("recommend the theatre", 3).unwrap().virtual_tokens;
    adaptation
}

fn agrees_with_the_decoder(name: &str, model: &Gguf) {
    let decoded = model.session().score(&[PROMPT.to_owned()], &[ANSWER.to_owned()]).unwrap()[0];
    let sequence = sequence(model, PROMPT, ANSWER, 0);
    assert_eq!(sequence.answer_tokens(), decoded.tokens);
    // B is zero at first.
    for adaptation in [Adaptation::default(), model.new_low_rank(&Projection::ALL, 4, 8.0, &[7])] {
        let found = model.answer_nlls(&adaptation, std::slice::from_ref(&sequence)).unwrap()[0];
        assert!((found + decoded.logprob_sum).abs() < 1e-4, "{name}: {found} is not {}", -decoded.logprob_sum);
    }
}

#[test]
fn an_untrained_model_is_the_decoder() {
    for (name, model) in toys() {
        agrees_with_the_decoder(name, &model);
    }
    if let Some(path) = smollm2() {
        agrees_with_the_decoder("SmolLM2", &Gguf::load(&path).unwrap());
    }
}

#[test]
fn a_tuned_model_is_the_decoder_with_the_same_terms() {
    for (name, mut model) in toys() {
        let adaptation = Adaptation { virtual_tokens: Vec::new(), ..everything(&model) };
        let sequence = sequence(&model, PROMPT, ANSWER, 0);
        let tuned = model.answer_nlls(&adaptation, std::slice::from_ref(&sequence)).unwrap()[0];
        let plain = model.session().score(&[PROMPT.to_owned()], &[ANSWER.to_owned()]).unwrap()[0].logprob_sum;
        model.decoder.adaptation = Some(adaptation);
        let decoded = model.session().score(&[PROMPT.to_owned()], &[ANSWER.to_owned()]).unwrap()[0].logprob_sum;
        assert!(
            (tuned + decoded).abs() < 1e-4 && (plain - decoded).abs() > 1e-3,
            "{name}: {tuned}, {decoded}, {plain}"
        );
    }
}

#[test]
fn gradients_by_finite_differences_of_every_tensor() {
    for (name, model) in toys() {
        let adaptation = everything(&model);
        let sequence = [sequence(&model, PROMPT, ANSWER, 3)];
        let found = model.answer_gradients(&adaptation, &sequence).unwrap().remove(0);
        let nll = model.answer_nlls(&adaptation, &sequence).unwrap()[0];
        assert_eq!(found.nll.to_bits(), nll.to_bits());
        for (index, (tensor, gradient)) in found.gradient.tensors().into_iter().enumerate() {
            // Along its own gradient a loss grows by the gradient's norm; any wrong number makes it grow less.
            let norm = gradient.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 1e-4, "{name}: {tensor} does not learn");
            let step = (0.02 / norm.max(1.0)).min(0.02);
            let moved = |by: f64| {
                let mut moved = adaptation.clone();
                let numbers = moved.tensors_mut().remove(index).iter_mut().zip(gradient);
                numbers.for_each(|(x, d)| *x += (by * f64::from(*d) / norm) as f32);
                model.answer_nlls(&moved, &sequence).unwrap()[0]
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope - norm).abs() < 0.01 * norm + 1e-3, "{name}: {tensor}: {slope} is not {norm}");
        }
    }
}

#[test]
fn a_step_along_one_number_agrees_too() {
    let (_, model) = toys().remove(3);
    let adaptation = everything(&model);
    let sequence = [sequence(&model, PROMPT, ANSWER, 3)];
    let gradient = model.answer_gradients(&adaptation, &sequence).unwrap().remove(0).gradient;
    let last = gradient.tensors().len() - 1;
    for (tensor, place) in [(0, 5), (1, 7), (4, 1), (last, 0), (last, 40)] {
        let moved = |by: f32| {
            let mut moved = adaptation.clone();
            moved.tensors_mut()[tensor][place] += by;
            model.answer_nlls(&moved, &sequence).unwrap()[0]
        };
        let (slope, wanted) = ((moved(0.01) - moved(-0.01)) / 0.02, f64::from(gradient.tensors()[tensor].1[place]));
        assert!((slope - wanted).abs() < 0.02 * wanted.abs() + 2e-3, "{tensor} {place}: {slope} is not {wanted}");
    }
}

#[test]
fn threads_and_kept_activations_change_no_bit() {
    let (_, model) = toys().remove(0);
    let adaptation = everything(&model);
    let sequences: Vec<Sequence> =
        [ANSWER, " x", " Heat (1995) and"].iter().map(|answer| sequence(&model, PROMPT, answer, 2)).collect();
    let with = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| model.answer_gradients(&adaptation, &sequences).unwrap())
    };
    let recomputed =
        |sequence: &Sequence| SequencePass::new(&model.decoder, &adaptation, sequence).gradient(0).unwrap();
    for ((one, two), sequence) in with(1).into_iter().zip(with(2)).zip(&sequences) {
        let again = recomputed(sequence);
        for other in [two, again] {
            assert_eq!(one.nll.to_bits(), other.nll.to_bits());
            assert_eq!(one.gradient, other.gradient);
        }
    }
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let (_, model) = toys().remove(0);
    let refused = |tokens: Vec<u32>, answer| {
        model.answer_nlls(&Adaptation::default(), &[Sequence { tokens, answer }]).unwrap_err().to_string()
    };
    assert!(refused(vec![5, 6], 0).contains("no answer from 0"));
    assert!(refused(vec![5, 6], 2).contains("no answer from 2"));
    assert!(refused(vec![model.virtual_id(0), 6], 1).contains("none of the 266"));
    assert!(refused(vec![5; 9000], 1).contains("longer than the context of 8192"));
}
