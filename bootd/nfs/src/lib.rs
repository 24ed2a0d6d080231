//! NFSv3, MOUNT and portmapper: engine, exports, file handles, sockets.
