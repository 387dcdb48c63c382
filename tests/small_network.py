"""The smallest network that the launchers' tests train, as macros of the command line."""

SHAPE = {
    "EMB_DIM": "32",
    "NUM_HEADS": "2",
    "HEAD_DIM": "8",
    "MLP_DIM": "32",
    "NUM_ENCODER_LAYERS": "1",
    "NUM_DECODER_LAYERS": "1",
    "MIXTURE_OR_TASK_NAME": "'embedded_cot'",
}
BYTES = {"VOCAB": "'byt5'", "VOCAB_SIZE": "384"}
