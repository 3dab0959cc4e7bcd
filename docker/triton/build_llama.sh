#!/bin/sh
# Builds the engines of Llama 3.2 11B Vision and the four models that the ensemble
# llama_3_2_11b_vision consists of. To be run in the container that will serve them, on the kind of
# GPU that will serve them: engines fit one release and one kind only.
#
#   build_llama.sh WEIGHTS TARGET
#
# WEIGHTS  the folder of meta-llama/Llama-3.2-11B-Vision-Instruct
# TARGET   where engines/ and model_repository/ go; 25 GB. They keep this path: mount it alike.
#
# TRTLLM   TensorRT-LLM's examples, tools and all_models; /app, as in the container.
# BATCH    requests at a time; 8. The ensemble's max_batch_size has to be the same.
set -eu

weights=${1:?see the beginning of this file}
target=${2:?see the beginning of this file}
trtllm=${TRTLLM:-/app}
batch=${BATCH:-8}

# Tiles of a picture, and the tokens of each, that the language model attends to: 4 x 1601.
encoder_tokens=6404
# A question, its answer, and room to be asked again.
sequence=2048

# Examples and tools have moved from release to release.
part() {
    found=$(find -L "$trtllm" -path "*/$1" | head -n 1)
    if [ -z "$found" ]; then
        echo "no $1 below $trtllm: name TensorRT-LLM's sources of this release by TRTLLM" >&2
        exit 1
    fi
    echo "$found"
}

if [ ! -f "$weights/config.json" ]; then
    echo "no config.json in $weights" >&2
    exit 1
fi
convert=$(part mllama/convert_checkpoint.py)
encoder=$(part multimodal/build_multimodal_engine.py 2>/dev/null || part multimodal/build_visual_engine.py)
fill=$(part tools/fill_template.py)
inflight=$(part all_models/inflight_batcher_llm)
multimodal=$(part all_models/multimodal)

engines=$target/engines
models=$target/model_repository
mkdir -p "$engines" "$models"

# bfloat16 is what the weights are in; float16 overflows in some layers.
python3 "$convert" --model_dir "$weights" --output_dir "$target/checkpoint" --dtype bfloat16
trtllm-build \
    --checkpoint_dir "$target/checkpoint" \
    --output_dir "$engines/language" \
    --gemm_plugin auto \
    --max_batch_size "$batch" \
    --max_seq_len "$sequence" \
    --max_num_tokens 4096 \
    --max_encoder_input_len "$encoder_tokens"
rm -r "$target/checkpoint"
python3 "$encoder" \
    --model_type mllama \
    --model_path "$weights" \
    --output_dir "$engines/vision" \
    --max_batch_size "$batch"

for model in preprocessing tensorrt_llm postprocessing; do
    rm -rf "${models:?}/$model"
    cp -r "$inflight/$model" "$models/"
done
rm -rf "$models/multimodal_encoders"
cp -r "$multimodal/multimodal_encoders" "$models/"

# Requests of several clients meet for 20 ms; the language model takes new ones while it generates.
common=triton_max_batch_size:$batch,max_queue_size:0
gathered=$common,max_queue_delay_microseconds:20000
types=encoder_input_features_data_type:TYPE_BF16,prompt_embedding_table_data_type:TYPE_BF16
vision=multimodal_model_path:$engines/vision,visual_model_path:$engines/vision,hf_model_path:$weights

# One picture in a request; the tokenizer puts the mark of the beginning before the question.
python3 "$fill" -i "$models/preprocessing/config.pbtxt" \
    "$gathered,$vision,tokenizer_dir:$weights,engine_dir:$engines/language,max_num_images:1,add_special_tokens:True,preprocessing_instance_count:2"
python3 "$fill" -i "$models/multimodal_encoders/config.pbtxt" \
    "$gathered,$vision,$types"
# The input is left out of the output. What is free of the memory is shared by the cache of the
# language model and that of what it attends to, half and half. Clients want whole answers: one
# response to a request.
python3 "$fill" -i "$models/tensorrt_llm/config.pbtxt" \
    "$common,$types,max_queue_delay_microseconds:0,triton_backend:tensorrtllm,decoupled_mode:False,max_beam_width:1,engine_dir:$engines/language,batching_strategy:inflight_fused_batching,enable_kv_cache_reuse:False,enable_chunked_context:False,exclude_input_in_output:True,kv_cache_free_gpu_mem_fraction:0.85,cross_kv_cache_fraction:0.5,logits_datatype:TYPE_FP32"
python3 "$fill" -i "$models/postprocessing/config.pbtxt" \
    "$common,tokenizer_dir:$weights,skip_special_tokens:True,postprocessing_instance_count:2"

echo "serve it with --model-repository=$models beside docker/triton/model_repository"
