from tf_lottery.cli.train_agent import main
raise SystemExit(main())
