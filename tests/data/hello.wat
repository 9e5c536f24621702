;; SPDX-License-Identifier: Apache-2.0
;; hello: the smallest program that a registry can be seen to deliver. A WASI preview 2 command, written in the
;; text format: a component that imports standard output, writes one line to it and exports wasi:cli/run.
;;
;; Two core modules, because a lowered function needs a memory before the module that calls it exists: $memory is
;; made first and holds the line; $program imports it together with the functions lowered onto it.
(component $hello
  ;; What the world must provide, as far as it is used here.
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))
  ))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/streams@0.2.0" (instance $io-streams
    (alias outer $hello $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $failure (variant
      (case "last-operation-failed" (own $error))
      (case "closed")
    ))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream))
      (param "contents" (list u8))
      (result (result (error $stream-error)))
    ))
  ))
  (alias export $io-streams "output-stream" (type $output-stream))

  (import "wasi:cli/stdout@0.2.0" (instance $cli-stdout
    (alias outer $hello $output-stream (type $outer-stream))
    (export "output-stream" (type $output-stream (eq $outer-stream)))
    (export "get-stdout" (func (result (own $output-stream))))
  ))

  ;; Bytes 0 to 15: what a write answers. From 16: the line, 32 bytes long.
  (core module $memory-module
    (memory (export "memory") 1)
    (data (i32.const 16) "Hello! I came out of a registry\0a")
  )
  (core instance $memory (instantiate $memory-module))
  (alias core export $memory "memory" (core memory $bytes))

  (alias export $cli-stdout "get-stdout" (func $get-stdout))
  (alias export $io-streams "[method]output-stream.blocking-write-and-flush" (func $write))
  (core func $lowered-get-stdout (canon lower (func $get-stdout)))
  (core func $lowered-write (canon lower (func $write) (memory $bytes)))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core module $program-module
    (import "memory" "bytes" (memory 1))
    (import "stdout" "get" (func $get (result i32)))
    (import "stdout" "write" (func $write (param $stream i32) (param $at i32) (param $len i32) (param $answer i32)))
    (import "stdout" "drop" (func $drop (param $stream i32)))

    ;; 0 is ok, 1 is the error of a result without payload: just as the write answers it.
    (func (export "run") (result i32)
      (local $stream i32)
      (local.set $stream (call $get))
      (call $write (local.get $stream) (i32.const 16) (i32.const 32) (i32.const 0))
      (call $drop (local.get $stream))
      (i32.load8_u (i32.const 0))
    )
  )
  (core instance $program (instantiate $program-module
    (with "memory" (instance (export "bytes" (memory $bytes))))
    (with "stdout" (instance
      (export "get" (func $lowered-get-stdout))
      (export "write" (func $lowered-write))
      (export "drop" (func $drop-stream))
    ))
  ))
  (alias core export $program "run" (core func $core-run))

  (func $run (result (result)) (canon lift (core func $core-run)))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command))
)
