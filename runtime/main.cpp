/* main of a compiled executable. The image is what the compiler emits. */
#include "runtime/gradc.h"

extern "C" const gradc_image gradc_model_image;

int main(int argc, char** argv) { return gradc_main(&gradc_model_image, argc, argv); }
