"""The classes of the COCO data set (Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48), by their numbers."""

_NAMES = """
background, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire
hydrant, –, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, –, backpack, umbrella, –, –, handbag, tie, suitcase, frisbee, skis, snowboard,
sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, –,
wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot
dog, pizza, donut, cake, chair, couch, potted plant, bed, –, dining table, –, –, toilet, –, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, –, book,
clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_CLASSES = tuple(" ".join(_NAMES.split()).split(", "))
"""91 names; 0 is the background, and a dash stands at numbers that the data set does not use."""
