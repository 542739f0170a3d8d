# A stand-in for the package file of an installed 3D Slicer, enough to configure, build and install an extension of scripted modules.
# It was written from what Slicer 5.12 was seen to do and is as strict where a mistake of ours would show; nothing else is in it.
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/nothing.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/nothing.cmake")
